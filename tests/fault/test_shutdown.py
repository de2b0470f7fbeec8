"""What may be going on when the service is told to stop, alone and in pairs."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from itertools import product
from select import select
from signal import SIGINT, SIGTERM
from typing import Final

import attrs
import httpx
import pytest

from service.core.wire import Json
from tests.harness import Service, serving, short_home, until
from tests.receivers import black_hole

GRACE_SECONDS: Final = 1
EXIT_SECONDS: Final = 30
"""Ends a test that fails; the bound that is promised is the watchdog's, whose exit is not 0."""

SIDE_BY_SIDE: Final = 4

JOBS: Final = """
import threading, time
import trio
from service import Context, Permanent, task

@task("wait")
async def wait(ctx: Context) -> None:
    await trio.sleep_forever()

@task("shielded")
async def shielded(ctx: Context) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

@task("swallowing")
async def swallowing(ctx: Context) -> None:
    while True:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            pass

@task("thread")
def thread(ctx: Context) -> None:
    threading.Event().wait()

@task("lingering")
def lingering(ctx: Context) -> None:
    threading.Thread(target=threading.Event().wait, daemon=False).start()

@task("holding")
async def holding(ctx: Context) -> None:
    ctx.log.info("holding")
    while True:
        time.sleep(0.01)

@task("failing")
async def failing(ctx: Context) -> None:
    raise Permanent("as the test wants it")
"""


@attrs.define
class Scene:
    """A service and what it is doing: runs that were seen running, and runs that were accepted."""

    service: Service
    running: list[str] = attrs.field(factory=list)
    accepted: list[str] = attrs.field(factory=list)
    stack: ExitStack = attrs.field(factory=ExitStack)

    def post(self, job_id: str) -> str:
        answer = self.service.post({"jobId": job_id})
        assert answer.status_code == 202
        self.accepted.append(answer.headers["X-Run-Id"])
        return self.accepted[-1]

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        client = self.stack.enter_context(socket.socket())
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        url = self.service.client.base_url
        client.connect((url.host, url.port))
        return client


def idle_clients(scene: Scene) -> None:
    for _ in range(20):
        client = scene.connect()
        client.sendall(b"GET /_health?live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


def requests_in_flight(scene: Scene) -> None:
    """Go on posting until the service hangs up."""
    begun = threading.Event()

    def post() -> None:
        with httpx.Client(base_url=scene.service.client.base_url, timeout=EXIT_SECONDS) as client:
            try:
                while True:
                    answer = client.post("/webhook", json={"jobId": "echo"})
                    assert answer.status_code == 202
                    scene.accepted.append(answer.headers["X-Run-Id"])
                    begun.set()
            except httpx.TransportError:
                pass

    sender = scene.stack.enter_context(ThreadPoolExecutor(1))
    posting = sender.submit(post)
    scene.stack.callback(posting.result)
    assert begun.wait(EXIT_SECONDS)


def deaf_client(scene: Scene) -> None:
    """Ask until the service is stuck in writing what is never read."""
    client = scene.connect(receive_bytes=1024)
    client.settimeout(0)
    while select([], [client], [], 1.0)[1]:
        with suppress(BlockingIOError):
            client.send(b"GET /_health?live HTTP/1.1\r\nHost: x\r\n\r\n" * 100)


def slow_body(scene: Scene) -> None:
    client = scene.connect()
    client.sendall(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")


def running(job_id: str, scene: Scene) -> None:
    run_id = scene.post(job_id)
    scene.service.run_until(run_id, "running")
    scene.running.append(run_id)


def backlog(scene: Scene) -> None:
    for _ in range(scene.service.settings.runners + 20):
        scene.post("wait")


def failure(scene: Scene) -> None:
    """Have something to tell Sentry."""
    scene.service.run_until(scene.post("failing"), "error")


@contextmanager
def refusing() -> Iterator[int]:
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@attrs.frozen
class Condition:
    """Something that goes on; `setting` is a variable that names a dead receiver's address."""

    name: str
    begin: Callable[[Scene], None] = lambda _: None
    dead: Callable[[], AbstractContextManager[int]] = lambda: nullcontext(0)
    setting: str | None = None
    address: str = ""


TEMPO: Final = ("OTLP_ENDPOINT", "http://127.0.0.1:{}/v1/traces")
SENTRY: Final = ("SENTRY_DSN", "http://key@127.0.0.1:{}/42")

CONDITIONS: Final = (
    Condition("Tempo refuses", dead=refusing, setting=TEMPO[0], address=TEMPO[1]),
    Condition("Tempo is silent", dead=black_hole, setting=TEMPO[0], address=TEMPO[1]),
    Condition("running task", partial(running, "wait")),
    Condition("Sentry refuses", failure, refusing, *SENTRY),
    Condition("idle clients", idle_clients),
    Condition("shielded task", partial(running, "shielded")),
    Condition("task that swallows Cancelled", partial(running, "swallowing")),
    Condition("task in a thread", partial(running, "thread")),
    Condition("backlog", backlog),
    Condition("Sentry is silent", failure, black_hole, *SENTRY),
    Condition("slow body", slow_body),
    Condition("requests in flight", requests_in_flight),
    Condition("client that never reads", deaf_client),
)

LINES: Final = [[(offset + point) % 13 for point in (0, 1, 3, 9)] for offset in range(13)]
"""Fours in which each pair of thirteen meets exactly once: the projective plane of order 3.

The four ways in which telemetry is dead make up the first.
"""


def scenarios() -> list[tuple[Condition, ...]]:
    """Return nothing, each condition alone, and fours in which every possible pair is."""
    first, *others = LINES
    telemetry = [CONDITIONS[index] for index in first]
    tempo = [condition for condition in telemetry if condition.setting == TEMPO[0]]
    sentry = [condition for condition in telemetry if condition.setting == SENTRY[0]]
    return [
        (),
        *((condition,) for condition in CONDITIONS),
        *product(tempo, sentry),
        *(tuple(CONDITIONS[index] for index in sorted(line)) for line in others),
    ]


def title(scenario: tuple[Condition, ...]) -> str:
    return ", ".join(condition.name for condition in scenario) or "idle"


@contextmanager
def scene_of(scenario: tuple[Condition, ...], *, grace: float = GRACE_SECONDS) -> Iterator[Scene]:
    """Hold a service to which all of this happens."""
    settings = {"OTEL_SDK_DISABLED": "true"}
    with ExitStack() as stack:
        for condition in scenario:
            if condition.setting is not None:
                port = stack.enter_context(condition.dead())
                settings[condition.setting] = condition.address.format(port)
        if TEMPO[0] in settings:
            settings["OTEL_SDK_DISABLED"] = "false"
        home = stack.enter_context(short_home())
        service = stack.enter_context(
            serving(home, JOBS, SHUTDOWN_GRACE_SECONDS=str(grace), **settings)
        )
        scene = Scene(service)
        stack.enter_context(scene.stack)
        for condition in sorted(scenario, key=lambda condition: condition.begin is backlog):
            condition.begin(scene)
        yield scene


def stopped(scene: Scene) -> dict[str, dict[str, Json]]:
    """Return the runs by their ids, after an exit that kept all promises."""
    assert scene.service.wait(EXIT_SECONDS) == 0, scene.service.log_file.read_text()[-5000:]
    scene.stack.close()
    runs = {str(run["id"]): run for run in scene.service.runs()}
    for run_id in scene.accepted:
        run = runs[run_id]
        assert (run["status"], run["attempt"]) in {("queued", 0), ("ok", 1), ("error", 1)}
        assert run["crashes"] == 0
    for run_id in scene.running:
        assert runs[run_id]["status"] == "queued"
    return runs


def stop(scenario: tuple[Condition, ...]) -> None:
    with scene_of(scenario) as scene:
        scene.service.signal(SIGTERM)
        stopped(scene)


@pytest.fixture(scope="module")
def stops() -> Iterator[dict[str, Callable[[], None]]]:
    """All scenarios, some at a time: most of a stop is waiting."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {title(scenario): pool.submit(stop, scenario).result for scenario in scenarios()}


@pytest.mark.parametrize("name", [title(scenario) for scenario in scenarios()])
def test_stop_is_clean_and_in_time(stops: dict[str, Callable[[], None]], name: str) -> None:
    """Whatever goes on: exit 0 in time, nothing lost, and what was interrupted is not charged."""
    stops[name]()


def test_every_pair_meets() -> None:
    """The scenarios hold each condition alone, and every two that can be at the same time."""
    met = {
        frozenset((one.name, other.name))
        for scenario in scenarios()
        for one, other in product(scenario, scenario)
    }
    for one, other in product(CONDITIONS, CONDITIONS):
        exclusive = one is not other and one.setting is not None and one.setting == other.setting
        assert ({one.name, other.name} in met) is not exclusive


def test_second_signal_does_not_wait() -> None:
    """With a minute of grace and tasks that would use it up, a second signal ends it at once."""
    hanging = tuple(
        condition
        for condition in CONDITIONS
        if condition.name in {"running task", "shielded task", "task in a thread", "slow body"}
    )
    with scene_of(hanging, grace=60) as scene:
        scene.service.signal(SIGTERM)
        until(lambda: bool(scene.service.logged("stopping")), "the service is stopping")
        scene.service.signal(SIGTERM)
        stopped(scene)


def test_tasks_left_behind_are_named() -> None:
    """The log names the task that ignored its cancellation, and nothing else is an error."""
    with scene_of((CONDITIONS[5],)) as scene:
        scene.service.signal(SIGTERM)
        stopped(scene)
        (line,) = [line for line in scene.service.log() if line["level"] == "error"]
    assert line["tasks"] == [f"run {scene.running[0]} of shielded"]


def test_threads_of_a_task_do_not_hold_up_the_exit() -> None:
    """A thread that a task started and forgot keeps Python from ending, but not the service."""
    with scene_of(()) as scene:
        scene.service.run_until(scene.post("lingering"), "ok")
        scene.service.signal(SIGTERM)
        stopped(scene)


def test_two_signals_in_one_breath_are_two() -> None:
    """A second signal counts as such even when the first has not been obeyed yet."""
    with scene_of((CONDITIONS[2], CONDITIONS[5]), grace=60) as scene:
        scene.service.signal(SIGTERM)
        scene.service.signal(SIGINT)
        stopped(scene)


def test_task_that_holds_the_loop_is_ended_by_the_watchdog() -> None:
    """Where no signal can be obeyed the process ends all the same, and the next start sees why."""
    with short_home() as home:
        with serving(home, JOBS, SHUTDOWN_GRACE_SECONDS="0") as first:
            held = first.post({"jobId": "holding"}).headers["X-Run-Id"]
            until(lambda: bool(first.logged("holding")), "the loop is held")
            first.signal(SIGTERM)
            assert first.wait(EXIT_SECONDS) == 70
        with serving(home, JOBS.replace("while True", "while False")) as second:
            run = second.run_until(held, "ok")
    assert (run["attempt"], run["crashes"]) == (1, 1)
