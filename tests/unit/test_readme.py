"""The README says what the code does."""

import re
from pathlib import Path
from typing import Final

from service.settings import variables
from tests.harness import ROOT

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")


def test_settings_table_is_the_settings() -> None:
    """Every variable stands in the README with its default, meaning and unit, and no other does."""
    rows = []
    for variable in variables():
        default = f"`{variable.default}`" if variable.default else "not set"
        rows.append(f"| `{variable.name}` | {default} | {variable.meaning} | {variable.unit} |")
    head = "| variable | default | meaning | unit |\n| --- | --- | --- | --- |\n"
    assert head + "\n".join(rows) + "\n\n" in README


def test_named_tests_exist() -> None:
    """Each promise names tests that are there."""
    table = README.split("## Promises")[1].split("## Developing")[0]
    folder: Path | None = None
    named = re.findall(r"`((?:tests/)?[\w/*]+\.py)`", table)
    assert len(named) > 8
    for name in named:
        path = ROOT / name if "/" in name else (folder or ROOT) / name
        folder = path.parent
        assert list(path.parent.glob(path.name)), f"{name} is named in the README but is not there"


def test_first_task_is_what_it_says() -> None:
    """The README's first task, loaded as it stands, is a good jobs module."""
    source = README.split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {"__name__": "readme_jobs"}
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102 - our own README
    assert "greet" in names
    assert len(names["CRON_JOBS"]) == 1  # type: ignore[arg-type]
