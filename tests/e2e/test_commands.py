"""`service runs`, `show` and `check`, beside a living service and beside a stopped one."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.core.wire import Json
from service.settings import variables
from tests.harness import Service, environ_for, launch, serving, short_home, until

JOBS = """
import trio
from service import Context, CronJob, Permanent, task

@task("fail", retries=0)
async def fail(ctx: Context) -> None:
    raise Permanent("[red]no use[/red]")

@task("wait", timeout=90, retries=2, max_concurrency=3, rate="30/minute")
async def wait(ctx: Context) -> None:
    await trio.sleep_forever()

CRON_JOBS = [
    CronJob(id="yearly", schedule="30 4 1 1 *", job_id="wait", timezone="Europe/Berlin"),
    CronJob(id="never", schedule="* * * * *", job_id="fail", enabled=False),
]
"""
SECRET = "canary-secret"


@pytest.fixture(scope="module", params=["beside a service", "without one"])
def house(request: pytest.FixtureRequest) -> Iterator[Service]:
    """Four runs: ok, error, ok with a delivery id, and one that runs or is queued again."""
    with short_home() as home, serving(home, JOBS, SHUTDOWN_GRACE_SECONDS="0") as service:
        asked: list[tuple[Json, dict[str, str]]] = [
            ({"jobId": "echo", "payload": "first"}, {}),
            ({"jobId": "fail"}, {}),
            ({"jobId": "echo", "payload": {"ü": [1, "[b]2"]}}, {"Idempotency-Key": "key-1"}),
        ]
        for body, headers in asked:
            answer = service.post(body, headers)
            service.run_until(answer.headers["X-Run-Id"], "ok", "error")
        waiting = service.post({"jobId": "wait"}).headers["X-Run-Id"]
        service.run_until(waiting, "running")
        if request.param == "without one":
            assert service.stop() == 0
        yield service


def answered(house: Service, *words: str) -> str:
    done = house.command(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def listed(house: Service, *words: str) -> list[dict[str, Json]]:
    found = json.loads(answered(house, "runs", "--json", *words))
    assert isinstance(found, list)
    return found


def test_runs_are_listed_newest_first(house: Service) -> None:
    """Each run is an object of its own, with the facts that the store has."""
    runs = listed(house)
    assert [run["jobId"] for run in runs] == ["wait", "echo", "fail", "echo"]
    assert runs == house.runs()
    assert runs[1]["deliveryId"] == "key-1"
    assert runs[1]["payload"] == {"ü": [1, "[b]2"]}
    assert runs[2]["result"] == {"status": "error", "message": "[red]no use[/red]"}


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (["--job-id", "echo"], ["echo", "echo"]),
        (["--job-id", "none"], []),
        (["--status", "ok"], ["echo", "echo"]),
        (["--status", "error"], ["fail"]),
        (["--status", "cancelled"], []),
        (["--trigger", "webhook", "--limit", "2"], ["wait", "echo"]),
        (["--trigger", "cron"], []),
        (["--trigger", "manual"], []),
        (["--since", "1h"], ["wait", "echo", "fail", "echo"]),
        (["--since", "0s"], []),
        (["--limit", "1"], ["wait"]),
        (["--job-id", "echo", "--status", "ok", "--limit", "1"], ["echo"]),
    ],
)
def test_filters_narrow_the_list(house: Service, words: list[str], jobs: list[str]) -> None:
    """Every filter holds, and several hold together."""
    assert [run["jobId"] for run in listed(house, *words)] == jobs


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--status", "done"], "'done' is not one of"),
        (["--trigger", "me"], "'me' is not one of"),
        (["--since", "yesterday"], "'yesterday' is not a span such as 90s"),
        (["--limit", "0"], "0 is not in the range"),
        (["--limit", "10001"], "10001 is not in the range"),
        (["--colour"], "--colour"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_accepted(
    house: Service, words: list[str], names: str
) -> None:
    """A slip of the fingers is no crash."""
    done = house.command("runs", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert names in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [["runs", "--job-id", "\udcff"], ["show", "\udcff"], ["backup", "\udcff"]]
)
def test_an_argument_that_is_not_utf_8_is_2(house: Service, words: list[str]) -> None:
    """Whatever it is an argument of, and whoever would be asked; the bytes are shown."""
    done = house.command(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert r"'\udcff' is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_table_has_whole_ids_and_takes_text_as_it_is(house: Service) -> None:
    """In a pipe nothing is folded, cut or coloured, so grep and cut work; markup is text."""
    lines = answered(house, "runs").splitlines()
    heading = next(line for line in lines if "jobId" in line)
    assert [*heading.replace("created (UTC)", "created").split()] == [
        "run", "jobId", "status", "trigger", "attempt", "created", "result",
    ]  # fmt: skip
    for run in listed(house):
        (line,) = [line for line in lines if str(run["id"]) in line]
        assert str(run["jobId"]) in line
        assert str(run["createdAt"]) in line
    assert any('"message":"[red]no use[/red]"' in line for line in lines)


def test_show_tells_one_run(house: Service) -> None:
    """As a table for a person, and as an object that holds what the list has."""
    run = listed(house, "--status", "error")[0]
    shown = json.loads(answered(house, "show", "--json", str(run["id"])))
    assert {name: shown[name] for name in run} == run
    table = answered(house, "show", str(run["id"]))
    assert str(run["id"]) in table
    assert "[red]no use[/red]" in table


def test_unknown_run_is_1_and_names_the_way_on(house: Service) -> None:
    """A typo is told apart from a store that cannot be asked."""
    done = house.command("show", "no-such-run")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no-such-run" in done.stderr
    assert "service runs" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_shows_what_is_in_force(house: Service) -> None:
    """Settings with their source, tasks with their place, cron jobs with their next ticks."""
    printed = answered(house, "check")
    assert "SHUTDOWN_GRACE_SECONDS" in printed
    (grace,) = [line for line in printed.splitlines() if "SHUTDOWN_GRACE_SECONDS" in line]
    assert grace.split()[1:] == ["0", "environment"]
    (task,) = [line for line in printed.splitlines() if "jobs.py" in line and "90 s" in line]
    assert task.split()[0] == "wait"
    assert "Europe/Berlin" in printed
    assert "-01-01T03:30:00.000Z" in printed
    assert "not enabled" in printed


def test_check_tells_a_program_the_same(house: Service) -> None:
    """One object: settings as they are shown, tasks with their limits, cron jobs, no faults."""
    found = json.loads(answered(house, "check", "--json"))
    settings = {row.pop("name"): row for row in found["settings"]}
    assert settings["SHUTDOWN_GRACE_SECONDS"] == {"value": "0", "source": "environment"}
    assert set(settings) == {variable.name for variable in variables()}
    tasks = {task.pop("id"): task for task in found["tasks"]}
    assert tasks["wait"] == {
        "timeoutSeconds": 90,
        "retries": 2,
        "maxConcurrency": 3,
        "priority": 0,
        "rate": "30/minute",
        "definedAt": str(house.home / "jobs.py:9"),
    }
    yearly, never = found["cronJobs"]
    assert [tick[4:] for tick in yearly.pop("next")] == ["-01-01T03:30:00.000Z"] * 3
    assert yearly == {
        "id": "yearly",
        "jobId": "wait",
        "schedule": "30 4 1 1 *",
        "timezone": "Europe/Berlin",
        "enabled": True,
    }
    assert (never["id"], never["enabled"], never["next"]) == ("never", False, [])
    rest = {name: found[name] for name in ("changes", "upgrade", "telemetry", "faults")}
    assert rest == {"changes": [], "upgrade": None, "telemetry": None, "faults": []}


def test_check_tells_whether_the_port_is_taken(home: Path) -> None:
    """By somebody else: a fault. By the service itself: all is as it should be."""
    with serving(home, "") as service:
        port = str(service.client.base_url.port)
        service.environ = environ_for(PORT=port)
        assert service.command("check").returncode == 0
        service.environ |= {"CONTROL_SOCKET": "other.sock", "RUN_STORE": "memory"}
        done = service.command("check", "--json")
    assert done.returncode == 78
    taken = f"PORT: {port} on 127.0.0.1 is taken by another process; choose a free port"
    assert done.stderr == f"service: {taken}\n"
    assert json.loads(done.stdout)["faults"] == [taken]


def test_check_tells_a_program_of_faults(home: Path) -> None:
    """What was found before the fault is there, no secret is, and the exit code is the same."""
    service = launch(home, "raise ValueError('no')", WEBHOOK_SECRET=SECRET)
    assert service.wait() == 78
    done = service.command("check", "--json")
    assert done.returncode == 78
    found = json.loads(done.stdout)
    assert {"name": "WEBHOOK_SECRET", "value": "***", "source": "environment"} in found["settings"]
    assert SECRET not in done.stdout + done.stderr
    assert found["tasks"] is None
    (fault,) = found["faults"]
    assert done.stderr == f"service: {fault}\n"
    service.environ = environ_for(PORT="no", RUNNERS="no")
    done = service.command("check", "--json")
    assert done.returncode == 78
    found = json.loads(done.stdout)
    assert found["settings"] is None
    assert [fault.partition(":")[0] for fault in found["faults"]] == ["PORT", "RUNNERS"]


def test_no_service_and_no_store_is_69(home: Path) -> None:
    """Where nothing ever ran there is nothing to ask; and asking makes nothing."""
    service = launch(home, RUN_STORE_SQLITE_PATH="elsewhere/runs")
    service.kill()
    for words in (["runs"], ["show", "x"]):
        done = service.command(*words)
        assert (done.returncode, done.stdout) == (69, "")
        assert "service run" in done.stderr
    assert not (home / "elsewhere").exists()


def test_no_service_and_a_store_in_memory_is_69(home: Path) -> None:
    """What a service kept in memory went with it; an older file is not the place to look."""
    with serving(home) as earlier:
        assert earlier.stop() == 0
    with serving(home, RUN_STORE="memory") as service:
        assert service.stop() == 0
    for words in (["runs"], ["stats"], ["backup", "kept"]):
        done = service.command(*words)
        assert (done.returncode, done.stdout) == (69, "")
        (line,) = done.stderr.splitlines()
        assert "a store in memory lives only in the running service" in line
        assert "runs.sqlite3" not in line


def test_foreign_store_is_74_and_stays_as_it_was(home: Path) -> None:
    """A file that is not ours is refused with one line, by the service and by the commands."""
    (home / "data").mkdir()
    (home / "data" / "runs.sqlite3").write_text("dear diary")
    service = launch(home)
    assert service.wait() == 74
    done = service.command("runs")
    assert (done.returncode, done.stdout) == (74, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith("data/runs.sqlite3: is not a SQLite database")
    assert (home / "data" / "runs.sqlite3").read_text() == "dear diary"


def test_wrong_settings_are_78_and_named_all_at_once(home: Path) -> None:
    """Each wrong variable has its line, a secret is not shown, and nothing is started."""
    wrong = {"PORT": "http", "RUNNERS": "0", "SENTRY_DSN": SECRET}
    service = launch(home, **wrong)
    assert service.wait() == 78
    for words in (["check"], ["runs"], ["show", "x"]):
        done = service.command(*words)
        assert done.returncode == 78
        assert [line.split(":")[:2] for line in done.stderr.splitlines()] == [
            ["service", f" {name}"] for name in wrong
        ]
        assert SECRET not in done.stderr
    assert not (home / "data").exists()


def test_ctrl_c_in_a_long_import_is_130_and_quiet(home: Path) -> None:
    """Who has enough of waiting is not told that the module is wrong, nor shown a traceback."""
    jobs = "import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(60)"
    (home / "jobs.py").write_text(jobs, encoding="utf-8")
    command = subprocess.Popen(
        [sys.executable, "-m", "service", "cron"],
        cwd=home,
        env=environ_for(JOBS_MODULE="jobs"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    until(lambda: (home / "importing").exists() or None, "the module is being imported")
    command.send_signal(signal.SIGINT)
    said, _ = command.communicate(timeout=60)
    assert (command.returncode, said) == (130, b"")


@pytest.mark.parametrize("words", [["check"], ["cron"], ["run"]])
def test_jobs_that_cannot_be_loaded_are_78(home: Path, words: list[str]) -> None:
    """Not even what the interpreter itself raises leaves a command as a traceback."""
    service = launch(home, "raise GeneratorExit('enough')")
    assert service.wait() == 78
    done = service.command(*words)
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert line.endswith("jobs.py:1: cannot be imported: GeneratorExit: enough")


def test_control_socket_with_a_long_path_is_78(home: Path) -> None:
    """Start and commands are refused with the variable, and with what a path may have."""
    service = launch(home, CONTROL_SOCKET="x" * 108)
    assert service.wait() == 78
    (said,) = service.log_file.read_text(encoding="utf-8").splitlines()
    assert said.startswith("service: CONTROL_SOCKET: ")
    assert "is 108 bytes long; the path of a Unix socket has 107 at most" in said
    for words in (["check"], ["runs"]):
        done = service.command(*words)
        assert (done.returncode, done.stderr) == (78, f"{said}\n")
