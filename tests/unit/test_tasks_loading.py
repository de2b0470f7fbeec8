"""What the service has to do is loaded whole, or refused with a line that names the place."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from service.core.errors import ConfigError
from service.tasks.loading import Workload, load
from service.tasks.registry import REGISTRY

Write = Callable[[str], str]

HEAD = """\
import attrs
from service import Context, CronJob, task

@attrs.frozen
class Greet:
    name: str

@task("greet")
def greet(ctx: Context, payload: Greet) -> str:
    return payload.name
"""

SILENT = """\
class Silent(Exception):
    def __str__(self):
        return 1 / 0
raise Silent
"""
"""Nothing can be said of it but its name."""

LIAR = """\
class Liar(Exception):
    @property
    def __traceback__(self):
        raise SystemExit
    __class__ = __traceback__
raise Liar
"""
"""It raises whenever it is looked at."""

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _own_tasks() -> Iterator[None]:
    """Begin with the built-in tasks alone, whatever other tests registered, and leave no trace."""
    load("service.config", "UTC")
    before = dict(REGISTRY._tasks)  # noqa: SLF001 - a registry forgets nothing by itself
    for task in before.values():
        if not task.function.__module__.startswith("service."):
            del REGISTRY._tasks[task.id]  # noqa: SLF001 - as above
    yield
    REGISTRY._tasks.clear()  # noqa: SLF001 - as above
    REGISTRY._tasks.update(before)  # noqa: SLF001 - as above


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write an importable module and return its name, new each time."""
    monkeypatch.syspath_prepend(tmp_path)

    def writing(body: str) -> str:
        name = f"jobs_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(HEAD + dedent(body))
        return name

    return writing


def refusal(module: str, timezone: str = "UTC") -> str:
    with pytest.raises(ConfigError) as refused:
        load(module, timezone)
    line = str(refused.value)
    assert line.isprintable()
    return line


def test_the_shipped_config_loads() -> None:
    """Out of the box there are echo and heartbeat, and the heart beats every five minutes."""
    workload = load("service.config", "UTC")
    assert set(workload.tasks) >= {"echo", "heartbeat"}
    assert [(job.job_id, job.schedule) for job in workload.cron_jobs] == [
        ("heartbeat", "*/5 * * * *")
    ]


def test_an_owner_s_module_adds_to_the_built_in_tasks(write: Write) -> None:
    """Tasks come from both, cron jobs from the owner alone, in the owner's order."""
    module = write("""
        CRON_JOBS = [
            CronJob(id="b", schedule="@daily", job_id="greet", payload={"name": "team"}),
            CronJob(id="a", schedule="*/5 * * * * *", job_id="echo"),
        ]
    """)
    workload = load(module, "UTC")
    assert set(workload.tasks) == {"echo", "heartbeat", "greet"}
    assert [job.id for job in workload.cron_jobs] == ["b", "a"]
    assert workload.tasks["greet"].place.endswith(f"{module}.py:8")


def test_a_module_without_cron_jobs_has_none(write: Write) -> None:
    """A service that only answers webhooks needs no empty list."""
    workload: Workload = load(write(""), "UTC")
    assert not workload.cron_jobs


@pytest.mark.parametrize("module", ["no_such_module", "no_such_package.jobs", "service.nowhere"])
def test_a_module_that_does_not_exist_is_named(module: str) -> None:
    """The line names the variable and says where the module is looked for."""
    hint = "is it installed, or its folder in PYTHONPATH?"
    assert refusal(module) == f"JOBS_MODULE: there is no module {module!r}; {hint}"


@pytest.mark.parametrize(
    ("body", "place", "fault"),
    [
        ("import no_such_library", ".py:11", "ModuleNotFoundError: No module named 'no_such_l"),
        ("from service import Nothing", ".py:11", "ImportError: cannot import name 'Nothing'"),
        ("1 / 0", ".py:11", "ZeroDivisionError: division by zero"),
        ("raise ValueError('two\\nlines')", ".py:11", "ValueError: two lines"),
        ("raise SystemExit(3)", ".py:11", "SystemExit: 3"),
        ("raise GeneratorExit", ".py:11", "GeneratorExit: "),
        ("raise StopIteration('x')", ".py:11", "StopIteration: x"),
        ("raise BaseExceptionGroup('x', [SystemExit(3)])", ".py:11", "BaseExceptionGroup: x (1"),
        (SILENT, ".py:14", "{module}.Silent: <ZeroDivisionError when shown>"),
        (LIAR, ".py:16", "{module}.Liar: "),
        ("def broken(:", "", "SyntaxError: invalid syntax"),
        (
            'CronJob(id="x", schedule="61 * * * *", job_id="echo")',
            ".py:11",
            "ValueError: cron job 'x': schedule: field 1 (minute)",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_says_why_and_where(
    write: Write, body: str, place: str, fault: str
) -> None:
    """The import's own error is told, at the last line of the owner that it came through."""
    module = write(body)
    line = refusal(module)
    assert f"{module}{place}: cannot be imported: {fault.format(module=module)}" in line


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("CRON_JOBS = None", ": CRON_JOBS is NoneType, not a list of CronJob"),
        ("CRON_JOBS = {'x': 1}", ": CRON_JOBS is dict, not a list of CronJob"),
        ("CRON_JOBS = ['@daily']", ": CRON_JOBS[0] is str, not a CronJob"),
        (
            'CRON_JOBS = [CronJob(id="x", schedule="@daily", job_id="echo")] * 2',
            ": CRON_JOBS[1]: cron job 'x' is already listed at {module}: CRON_JOBS[0]",
        ),
        (
            'CRON_JOBS = [CronJob(id="x", schedule="@daily", job_id="greet_all")]',
            ": CRON_JOBS[0]: cron job 'x': there is no task 'greet_all', only echo, greet, ",
        ),
        (
            'CRON_JOBS = [CronJob(id="x", schedule="@daily", job_id="greet", payload={"nam": 1})]',
            ": CRON_JOBS[0]: cron job 'x': payload.name: missing; payload.nam: unknown",
        ),
    ],
)
def test_cron_jobs_that_do_not_fit_are_refused(write: Write, body: str, fault: str) -> None:
    """What would fail at its first tick is refused at the start, by its place in the list."""
    module = write(body)
    assert refusal(module).startswith(f"{module}{fault.format(module=module)}")


@pytest.mark.parametrize(
    ("body", "line", "fault"),
    [
        ("def __getattr__(name): return 1 / 0", 11, "ZeroDivisionError: division by zero"),
        (
            """
            class Jobs(list):
                def __iter__(self): raise GeneratorExit("no")
            CRON_JOBS = Jobs()
            """,
            13,
            "GeneratorExit: no",
        ),
        (
            """
            @attrs.frozen
            class Odd:
                def __attrs_post_init__(self): exit(3)
            @task("odd")
            def odd(ctx: Context, payload: Odd): ...
            CRON_JOBS = [CronJob(id="x", schedule="@daily", job_id="odd", payload={})]
            """,
            14,
            "SystemExit: 3",
        ),
        (
            """
            import sys
            class House:
                @property
                def CRON_JOBS(self): return {}["jobs"]
            sys.modules[__name__] = House()
            """,
            15,
            "KeyError: 'jobs'",
        ),
    ],
)
def test_what_cron_jobs_raise_is_told(write: Write, body: str, line: int, fault: str) -> None:
    """Whatever runs when the owner's cron jobs are looked at, what it raises has its place."""
    module = write(body)
    assert f"{module}.py:{line}: CRON_JOBS cannot be read: {fault}" in refusal(module)


def test_ctrl_c_is_not_the_module_s_fault(write: Write) -> None:
    """Who interrupts a long import is not told that the module is wrong."""
    with pytest.raises(KeyboardInterrupt):
        load(write("raise KeyboardInterrupt"), "UTC")


def test_two_tasks_of_one_id_are_refused(write: Write) -> None:
    """A task cannot take a built-in task's id; both places are named."""
    module = write('task("echo")(greet)')
    line = refusal(module)
    assert f"{module}.py:8: task 'echo' is already registered at " in line
    assert "builtin.py:" in line


def test_a_zone_that_is_none_is_refused(write: Write) -> None:
    """The service's zone is checked with each schedule that relies on it."""
    module = write('CRON_JOBS = [CronJob(id="x", schedule="@daily", job_id="echo")]')
    assert refusal(module, "Mars/Olympus").startswith(f"{module}: CRON_JOBS[0]: cron job 'x': ")
