"""Requests are retried as their servers ask; a long wait gives the runner back."""

import logging
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
import trio
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from trio.testing import MockClock

from service.core.run import Status
from service.core.throttling import WAIT_MAX_SECONDS
from service.core.wire import Json
from service.observability.recording import Record, Recorder
from service.observability.traces import tracer_is
from service.tasks.context import Context
from service.tasks.http import RETRIES, WAITS_MAX, HttpError
from service.tasks.outbound import REALMS_MAX, Outbound
from service.tasks.registry import Registry
from tests.runners import at_work, message_of, result_of, seconds_of
from tests.stores import START

URL = "https://api.github.test/repos/a/b?token=s3cret-canary"

Answer = httpx.Response | Exception


class Server:
    """Answers with what it was given, one after the other, the last again and again."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(
            httpx.Request(
                request.method, request.url, headers=request.headers, content=request.content
            )
        )  # a copy: a request that is tried again is the same one
        self.times.append(trio.current_time())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        body = httpx.ByteStream(answer.content)  # a response made with content is read already
        return httpx.Response(answer.status_code, headers=answer.headers, stream=body)

    def outbound(self) -> Outbound:
        return Outbound(lambda: httpx.AsyncClient(transport=httpx.MockTransport(self.answer)))


OK = httpx.Response(200, json={"stars": 5})
BUSY = httpx.Response(503)


def limited(seconds: float) -> httpx.Response:
    return httpx.Response(429, headers={"retry-after": f"{seconds:.0f}"})


def fetching(method: str = "GET", *, retry: bool | None = None) -> Registry:
    tasks = Registry()

    @tasks.task("fetch")
    async def fetch(ctx: Context) -> int:
        response = await ctx.http.request(method, URL, retry=retry)
        stars: int = response.json()["stars"]
        return stars

    return tasks


async def test_an_answer_is_read_whole(autojump_clock: MockClock) -> None:
    """A success is returned with its body."""
    server = Server(OK)
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        assert result_of(await runner.perform("fetch")) == 5
    [request] = server.requests
    assert request.method == "GET"


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(429),
        httpx.Response(502),
        httpx.Response(503),
        httpx.Response(504),
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.ReadTimeout("silent"),
        httpx.RemoteProtocolError("garbage"),
    ],
)
async def test_what_passes_is_tried_again(failure: Answer, autojump_clock: MockClock) -> None:
    """Overload and lost connections are met by another try, within the attempt."""
    server = Server(failure, failure, OK)
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        run = await runner.perform("fetch")
    assert (result_of(run), run.claim) == (5, 1)
    assert 0.25 <= server.times[1] <= 0.5
    assert 0.5 <= server.times[2] - server.times[1] <= 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_may_not_be_repeated_is_not(method: str, autojump_clock: MockClock) -> None:
    """A POST may have been done: it is tried again only if its author says so."""
    server = Server(BUSY, OK)
    async with at_work(fetching(method), autojump_clock, outbound=server.outbound()) as runner:
        run = await runner.perform("fetch", max_attempts=1)
    assert message_of(run) == f"HttpError: {method} api.github.test: 503 Service Unavailable"
    server = Server(BUSY, OK)
    tasks = fetching(method, retry=True)
    async with at_work(tasks, autojump_clock, outbound=server.outbound()) as runner:
        assert result_of(await runner.perform("fetch")) == 5


async def test_what_does_not_pass_is_an_error_at_once(autojump_clock: MockClock) -> None:
    """A 404 is no reason to ask again, and the message has no secrets."""
    server = Server(httpx.Response(404))
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        run = await runner.perform("fetch", max_attempts=1)
    assert message_of(run) == "HttpError: GET api.github.test: 404 Not Found"
    assert len(server.requests) == 1


async def test_tries_are_counted(autojump_clock: MockClock) -> None:
    """A server that stays down is given up, within the time of a few tries."""
    server = Server(BUSY)
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        run = await runner.perform("fetch", max_attempts=1)
    assert message_of(run) == (
        "HttpError: GET api.github.test: 503 Service Unavailable, the last of 4 tries"
    )
    assert len(server.requests) == RETRIES + 1
    assert seconds_of(run) < 10


async def test_a_short_wait_is_waited_for(autojump_clock: MockClock) -> None:
    """A few seconds of Retry-After are kept to, in the runner."""
    server = Server(limited(3), OK)
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        run = await runner.perform("fetch")
    assert (result_of(run), run.claim) == (5, 1)
    assert server.times[1] == pytest.approx(3)


@pytest.mark.parametrize(
    "refusal",
    [
        limited(600),
        httpx.Response(
            403,
            headers={
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": str(int((START + timedelta(seconds=600)).timestamp())),
            },
        ),
    ],
)
async def test_a_long_wait_gives_the_runner_back(
    refusal: httpx.Response, autojump_clock: MockClock
) -> None:
    """The run is queued until the server wants it, and uses up no attempt."""
    server = Server(refusal, OK)
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        run_id = await runner.enqueue("fetch")
        await trio.sleep(2)
        waiting = await runner.look(run_id)
        assert waiting.status == Status.QUEUED
        assert 600 <= (waiting.due_at - START).total_seconds() <= 600 * 1.1 + 1
        run = await runner.end_of(run_id)
    assert (result_of(run), run.attempt, run.claim) == (5, 1, 2)
    assert len(server.requests) == 2


async def test_ten_hours_are_asked_for_by_the_hour(autojump_clock: MockClock) -> None:
    """A wait is believed for an hour at a time, and for so many hours at most."""
    server = Server(limited(36_000))
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        run = await runner.perform("fetch", max_attempts=1)
    assert "asks to be left alone for" in message_of(run)
    assert message_of(run).endswith(", and that 10 times")
    assert len(server.requests) == WAITS_MAX + 1
    assert WAITS_MAX * WAIT_MAX_SECONDS <= seconds_of(run) <= WAITS_MAX * WAIT_MAX_SECONDS * 1.1


async def test_a_server_that_never_tires_of_short_waits_ends_the_attempt(
    autojump_clock: MockClock,
) -> None:
    """Retry-After: 1 for ever costs a bounded number of requests."""
    server = Server(limited(1))
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        run = await runner.perform("fetch", max_attempts=1)
    assert "asks to be left alone" in message_of(run)
    assert len(server.requests) <= (WAITS_MAX + 1) * (RETRIES + 1)


async def test_finished_steps_are_kept_over_a_wait(autojump_clock: MockClock) -> None:
    """The step that had to wait is done again, the one before it is not."""
    server = Server(OK, limited(600), OK)
    tasks = Registry()

    @tasks.task("fetch")
    async def fetch(ctx: Context) -> list[int]:
        async def stars(url: str) -> int:
            found: int = (await ctx.http.get(url)).json()["stars"]
            return found

        return [await ctx.step(name, stars, f"https://x.test/{name}") for name in ("a", "b")]

    async with at_work(tasks, autojump_clock, outbound=server.outbound()) as runner:
        assert result_of(await runner.perform("fetch")) == [5, 5]
    assert [request.url.path for request in server.requests] == ["/a", "/b", "/b"]


async def test_a_limit_is_kept_to_by_all_runs(autojump_clock: MockClock) -> None:
    """What one run was told keeps the others from asking."""
    server = Server(limited(600), OK)
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        first, second = await runner.enqueue("fetch"), await runner.enqueue("fetch")
        await trio.sleep(30)
        assert len(server.requests) == 1
        for run_id in (first, second):
            assert result_of(await runner.end_of(run_id)) == 5
    assert len(server.requests) == 3


async def test_a_used_up_limit_is_heeded_before_it_refuses(autojump_clock: MockClock) -> None:
    """An answer that says that nothing remains keeps the next request until the reset."""
    last = httpx.Response(
        200,
        json={"stars": 5},
        headers={
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(int((START + timedelta(seconds=300)).timestamp())),
        },
    )
    server = Server(last, OK)
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        await runner.perform("fetch")
        await runner.perform("fetch")
    assert server.times[1] >= 300


async def test_a_stranger_is_not_kept_waiting(autojump_clock: MockClock) -> None:
    """Another host, other credentials and another resource have limits of their own."""
    server = Server(limited(600), OK)
    tasks = Registry()

    @tasks.task("fetch")
    async def fetch(ctx: Context, payload: dict[str, str]) -> int:
        headers = {"authorization": payload["token"]}
        return (await ctx.http.get(payload["url"], headers=headers)).status_code

    url = "https://api.github.test/repos/x"
    async with at_work(tasks, autojump_clock, outbound=server.outbound()) as runner:
        await runner.enqueue("fetch", {"url": url, "token": "a"})
        await trio.sleep(2)
        others: list[Json] = [
            {"url": url, "token": "b"},
            {"url": "https://other.test/repos/x", "token": "a"},
            {"url": "https://api.github.test/search/x", "token": "a"},
        ]
        for payload in others:
            run = await runner.perform("fetch", payload)
            assert result_of(run) == 200
        assert autojump_clock.current_time() < 60


def test_what_is_remembered_of_servers_is_bounded() -> None:
    """A task that asks a million hosts does not fill the memory."""

    async def fill() -> None:
        await trio.lowlevel.checkpoint()
        outbound = Outbound()
        for number in range(3 * REALMS_MAX):
            outbound.close((f"https://{number}.test", "", ""), 60)
        assert len(outbound._closed_until) <= REALMS_MAX  # noqa: SLF001 - what is bounded
        assert outbound.closed_seconds((f"https://{number}.test", "", "")) > 0

    trio.run(fill)


@pytest.fixture
def spans() -> Iterator[list[Record]]:
    records: list[Record] = []
    with tracer_is(Recorder(DEFAULT_ON, records.append)):
        yield records


async def test_each_try_is_a_span_and_carries_its_trace(
    spans: list[Record], autojump_clock: MockClock
) -> None:
    """The server is told the try's own span; query and path stay out of it."""
    server = Server(BUSY, OK)
    async with at_work(fetching(), autojump_clock, outbound=server.outbound()) as runner:
        await runner.perform("fetch")
    tries = [span for span in spans if span.name == "GET"]
    told = [request.headers["traceparent"].split("-")[2] for request in server.requests]
    assert [f"{span.context.span_id:016x}" for span in tries] == told
    assert len(set(told)) == 2
    assert [span.attributes.get("http.request.resend_count") for span in tries] == [None, 1]
    for span in tries:
        assert "canary" not in repr(vars(span))
        assert "/repos" not in repr(vars(span))


async def test_nothing_that_is_logged_holds_a_secret(
    autojump_clock: MockClock,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither our lines nor the library's hold the query or a header."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # as our logs set it
    tasks = Registry()

    @tasks.task("fetch")
    async def fetch(ctx: Context) -> int:
        headers = {"authorization": "Bearer s3cret-canary"}
        return (await ctx.http.get(URL, headers=headers)).status_code

    server = Server(BUSY, limited(3), httpx.ConnectError("refused"), httpx.Response(401))
    async with at_work(tasks, autojump_clock, outbound=server.outbound()) as runner:
        run = await runner.perform("fetch", max_attempts=1)
    assert message_of(run).startswith("HttpError: GET api.github.test: 401 Unauthorized")
    written = capsys.readouterr()
    assert "canary" not in written.out + written.err + caplog.text


async def test_an_error_tells_its_status(autojump_clock: MockClock) -> None:
    """A task can decide by the status, and look at the answer."""
    server = Server(httpx.Response(404, json={"message": "Not Found"}))
    tasks = Registry()

    @tasks.task("fetch")
    async def fetch(ctx: Context) -> list[Json]:
        try:
            await ctx.http.get(URL)
        except HttpError as error:
            body = error.response.json() if error.response else None
            return [error.status, body]
        return []

    async with at_work(tasks, autojump_clock, outbound=server.outbound()) as runner:
        assert result_of(await runner.perform("fetch")) == [404, {"message": "Not Found"}]


async def test_json_is_sent_as_json(autojump_clock: MockClock) -> None:
    """A body given as JSON arrives as such."""
    server = Server(OK)
    tasks = Registry()

    @tasks.task("send")
    async def send(ctx: Context) -> int:
        return (await ctx.http.post(URL, json={"text": "é", "n": [1]})).status_code

    async with at_work(tasks, autojump_clock, outbound=server.outbound()) as runner:
        assert result_of(await runner.perform("send")) == 200
    [request] = server.requests
    assert request.headers["content-type"] == "application/json"
    assert request.content == '{"text":"é","n":[1]}'.encode()
