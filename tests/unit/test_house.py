"""The architecture, held by reading the source itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import service

HOUSE: Final = Path(service.__file__).parent
FLOORS: Final = (
    ("service.__main__",),
    ("service.cli",),
    (
        "service.supervisor",
        "service.watchdog",
        "service.signals",
        "service.monitoring",
        "service.garbage",
    ),
    ("service.house",),
    ("service.actors",),
    (
        "service.serving",
        "service.pool",
        "service.pulse",
        "service.yard",
        "service.stepping",
        "service.client",
        "service.hop",
    ),
    ("service.desk",),
    ("service.vault",),
    ("service.protocol",),
    ("service.config", "service.testing"),
    ("service.tasks",),
    ("service.door",),
    ("service.storage",),
    ("service.messages",),
    ("service.observability",),
    ("service.settings",),
    ("service.core",),
)
"""From the roof down: a module may import what is on its own floor's package, or below."""

SQL: Final = re.compile(
    r"\s*((SELECT|WITH|INSERT|REPLACE|UPDATE|DELETE|CREATE|ALTER|DROP|PRAGMA|SAVEPOINT|RELEASE)\s"
    r"|(BEGIN|COMMIT|ROLLBACK|VACUUM|ANALYZE)\b)",
)
FILES: Final = sorted(HOUSE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(module: str) -> int | None:
    """Return the number of a module's floor, 0 being the roof; None for what is not ours."""
    for number, names in enumerate(FLOORS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return number
    return None


def ids(path: Path) -> str:
    return str(path.relative_to(HOUSE))


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_every_file_has_a_floor(path: Path) -> None:
    """A new module is given its place in the house on purpose."""
    assert path == HOUSE / "__init__.py" or floor(name_of(path)) is not None


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_imports_climb_nowhere(path: Path) -> None:
    """Imports only go down."""
    own = floor(name_of(path))
    if own is None:  # the face of the package hands names on
        return
    for module in imports(path):
        target = floor(module)
        assert target is None or target >= own, f"{name_of(path)} climbs to {module}"


def test_actors_do_not_know_each_other() -> None:
    """Actors talk through the store's door; the supervisor alone knows them all."""
    actors = sorted((HOUSE / "actors").glob("*.py"))
    assert len(actors) > 4
    for path in actors:
        known = {module for module in imports(path) if module.startswith("service.actors")}
        assert not known, f"{path.name} imports {known}"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_sqlite_stays_in_storage(path: Path) -> None:
    """No sqlite3, and no SQL, outside storage."""
    if path.is_relative_to(HOUSE / "storage"):
        return
    assert not any(module.split(".")[0] == "sqlite3" for module in imports(path))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not SQL.match(node.value), f"{path}:{node.lineno}: SQL"


def test_no_placeholder_has_a_number() -> None:
    """Python 3.12 up to 3.12.3 takes `?1` for a name, and warns of it."""
    for path in (HOUSE / "storage").rglob("*.py"):
        assert not re.search(r"\?\d", path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_channel_is_unbounded(path: Path) -> None:
    """Every queue has a size: memory channels take a finite one, and are made in few places."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and "open_memory_channel" in ast.unparse(node.func):
            [size] = node.args
            assert "inf" not in ast.unparse(size), f"{path}:{node.lineno}: unbounded channel"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_core_is_pure(path: Path) -> None:
    """The core knows no trio, no files, no sockets and no clock but an argument."""
    if not path.is_relative_to(HOUSE / "core"):
        return
    forbidden = {"trio", "socket", "sqlite3", "subprocess", "threading", "time", "random", "quart"}
    assert not {module.split(".")[0] for module in imports(path)} & forbidden
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(datetime|date)\.(now|today|utcnow)\(", source)


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_files_are_read_in_one_sitting(path: Path) -> None:
    """A file answers one question."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350
