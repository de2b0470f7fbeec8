"""Clients that are slow, broken or hostile cost a bound of time and memory, and nobody else."""

import json
import tracemalloc

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.serving.limits import Room
from tests.e2e.serving_house import HEALTH, HEALTHY, PATIENT, Answer, chunked, get, post, serving

SLOW_HEADS = [b"G", b"GET /health HTTP/1.1\r\nHost:", HEALTH[:-2]]
SLOW_BODIES = [post(b"x" * 10)[:-1], chunked(b"x" * 10), chunked()]


def message(answer: Answer) -> str:
    """Return the message of an error, which is JSON like any other answer."""
    assert answer.headers[b"content-type"] == b"application/json"
    said = json.loads(answer.body)
    assert said["status"] == "error"
    assert set(said) == {"status", "message"}
    return str(said["message"])


@pytest.mark.parametrize("text", SLOW_HEADS)
async def test_a_slow_head_is_refused(text: bytes) -> None:
    """A request whose headers do not end is answered 408 and closed, idle time or not."""
    limits = attrs.evolve(PATIENT, head_seconds=0.05, linger_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(text)
        answer = await client.answer()
        assert answer.status == 408
        assert message(answer) == "the request was not complete in 0.05 s"
        assert await client.rest() == b""


async def test_a_slow_head_behind_another_request_is_refused() -> None:
    """The half of a second request in one packet with the first is not idle either."""
    limits = attrs.evolve(PATIENT, head_seconds=0.05, linger_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(HEALTH + HEALTH[:9])
        assert (await client.answer()).body == HEALTHY
        assert (await client.answer()).status == 408


@pytest.mark.parametrize("text", SLOW_BODIES)
async def test_a_slow_body_is_refused(text: bytes) -> None:
    """A body that does not end is answered 408 and closed, and no handler saw it."""
    limits = attrs.evolve(PATIENT, body_seconds=0.05, linger_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(text.replace(b"/echo", b"/wait"))
        answer = await client.answer()
        assert answer.status == 408
        assert message(answer) == "the request was not complete in 0.05 s"
        assert await client.rest() == b""
        assert not house.entered.is_set()


@pytest.mark.parametrize("text", [post(b"x" * 1001)[:-1001], chunked(b"x" * 1001)])
async def test_a_large_body_is_refused_at_once(text: bytes) -> None:
    """Over the limit is 413 as soon as it shows, while the client still idles."""
    async with serving(attrs.evolve(PATIENT, body_bytes=1000)) as house:
        answer = await house.ask(text)
        assert answer.status == 413
        assert message(answer) == "the body is larger than 1000 bytes"
        assert answer.headers[b"connection"] == b"close"


@pytest.mark.parametrize("text", [post(b"x" * 1000), chunked(b"x" * 400, b"x" * 600, b"")])
async def test_a_body_of_the_limit_is_accepted(text: bytes) -> None:
    """The limit itself is allowed."""
    async with serving(attrs.evolve(PATIENT, body_bytes=1000)) as house:
        assert (await house.ask(text)).body == b"x" * 1000


@pytest.mark.parametrize("size_bytes", [10**7, 10**8])
async def test_a_client_that_sends_on_still_reads_why(size_bytes: int) -> None:
    """What a refused client has under way does not destroy the answer (no RST before it)."""
    limits = attrs.evolve(PATIENT, body_bytes=1000)
    async with serving(limits) as house, await house.connect() as client:
        with trio.CancelScope():
            await client.say(post(b"x" * size_bytes))
        assert (await client.answer()).status == 413


async def test_a_slow_client_that_sends_on_still_reads_why() -> None:
    """Who is too slow with a head may send the rest of it, and then reads 408."""
    limits = attrs.evolve(PATIENT, head_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(HEALTH[:-4])
        while not client.has_mail():  # noqa: ASYNC110 - the kernel has no event for it
            await trio.lowlevel.checkpoint()
        for late in HEALTH[-4:]:
            await client.say(bytes([late]))
            await wait_all_tasks_blocked()
        assert (await client.answer()).status == 408
        assert await client.rest() == b""


async def test_a_refused_client_that_never_closes_is_cut_off() -> None:
    """Reading on has its bound, too."""
    limits = attrs.evolve(PATIENT, body_bytes=1000, linger_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(post(b"x" * 1001)[:-1])
        assert (await client.answer()).status == 413
        await house.stop()


async def test_an_endless_head_is_refused() -> None:
    """A head over its limit is answered 431 and closed."""
    limits = attrs.evolve(PATIENT, linger_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000)
        answer = await client.answer()
        assert answer.status == 431
        assert message(answer).startswith("Request Header Fields Too Large")
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (get("/health", "bad name: x\r\n"), 400),
        (post(b"", headers="Content-Length: 7\r\n"), 400),
        (get("/echo", "Content-Length: -1\r\n"), 400),
        (get("/echo", "Transfer-Encoding: gzip\r\n"), 501),
        (post(b"", headers="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", 400),
        (chunked() + b"zz\r\n", 400),
        (chunked(b"x" * 10) + b"\r\n\r\n", 400),
        (get("?a=b"), 400),
        (get("health"), 400),
        (get("*"), 400),
        (get("ftp://x/health"), 400),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /health HTTP/3.7\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
async def test_what_is_not_http_is_refused(text: bytes, status: int) -> None:
    """Garbage is answered in JSON, closed, and logged by nobody."""
    async with serving(attrs.evolve(PATIENT, linger_seconds=0.05)) as house:
        async with await house.connect() as client:
            await client.say(text)
            answer = await client.answer()
            assert answer.status == status
            assert message(answer)
            assert await client.rest() == b""
        assert house.log == []


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [("HEAD x HTTP/1.1", "", 400), ("HEAD / HTTP/1.1", "Content-Length: 99999999\r\n", 413)],
)
async def test_a_refusal_of_head_has_no_body(request_line: str, headers: str, status: int) -> None:
    """Nor does it leave the next request without one."""
    limits = attrs.evolve(PATIENT, linger_seconds=0.05, head_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(f"{request_line}\r\nHost: x\r\n{headers}\r\n".encode())
        assert (await client.answer("HEAD")).status == status
        assert await client.rest() == b""
        async with await house.connect() as other:
            await other.say(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\nGET")
            assert (await other.answer("HEAD")).status == 200
            assert message(await other.answer())
        assert house.log == []


async def test_only_an_answer_to_head_has_no_body() -> None:
    """The case of a method counts (RFC 9110 section 9.1): who asks to "head" waits for one."""
    async with serving() as house, await house.connect() as client:
        await client.say(b"head /health HTTP/1.1\r\nHost: x\r\n\r\n" + HEALTH)
        assert [(await client.answer()).body for _ in range(2)] == [HEALTHY] * 2


@pytest.mark.parametrize("target", ["http://x/health", "HTTPS://x:1/health", "/health?a=%ff%00"])
async def test_targets_in_full_are_understood(target: str) -> None:
    """A server accepts the absolute form, too (RFC 9112 section 3.2.2)."""
    async with serving() as house:
        assert (await house.ask(get(target))).body == HEALTHY


@pytest.mark.parametrize(
    "target", ["//", "//x:y/", "/%ff", "/a/../..//", "http://[/", "http://x?", "/?%", "/#"]
)
async def test_odd_targets_are_no_fault_of_ours(target: str) -> None:
    """Whatever path is asked for, the answer is "not found"."""
    async with serving() as house:
        assert (await house.ask(get(target))).status in {301, 308, 404}
        assert house.log == []


@pytest.mark.parametrize("headers", ["Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", ""])
async def test_http_2_is_not_spoken(headers: str) -> None:
    """An offer to change the protocol is ignored: the answer is HTTP/1.1."""
    async with serving() as house:
        upgrade = "Connection: Upgrade, HTTP2-Settings\r\n"
        answer = await house.ask(get("/health", upgrade + headers))
        assert (answer.status, answer.body) == (200, HEALTHY)


async def test_websockets_are_not_spoken() -> None:
    """A handshake is a request like any other."""
    async with serving() as house:
        handshake = (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        )
        assert (await house.ask(get("/health", handshake))).body == HEALTHY


async def test_who_offers_another_protocol_may_go_on() -> None:
    """The connection stays as it would without the offer, until its client says that it is over."""
    async with serving() as house, await house.connect() as client:
        offer = get("/health", "Connection: Upgrade\r\nUpgrade: h2c\r\n")
        last = get("/health", "Connection: close, Upgrade\r\nUpgrade: h2c\r\n")
        await client.say(offer + last + HEALTH)
        assert b"connection" not in (await client.answer()).headers
        assert (await client.answer()).headers[b"connection"] == b"close"
        assert await client.rest() == b""


async def test_no_answer_names_the_server() -> None:
    """Neither an answer nor a refusal says what serves it."""
    async with serving() as house:
        for text in (HEALTH, b"hello\r\n\r\n"):
            assert b"server" not in (await house.ask(text)).headers


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests in one packet are answered one after the other."""
    async with serving() as house, await house.connect() as client:
        await client.say(post(b"one") + HEALTH + chunked(b"tw", b"o", b""))
        assert (await client.answer()).body == b"one"
        assert (await client.answer()).body == HEALTHY
        assert (await client.answer()).body == b"two"


async def test_nothing_is_read_after_the_last_request() -> None:
    """What follows a "Connection: close" neither breaks its answer nor is answered."""
    limits = attrs.evolve(PATIENT, linger_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(get("/wait", "Connection: close\r\n") + b"\r\ngarbage")
        await house.entered.wait()
        await client.say(HEALTH)
        house.leave.set()
        assert json.loads((await client.answer()).body) == {"status": "left"}
        assert await client.rest() == b""


async def test_what_follows_the_last_request_is_not_kept() -> None:
    """A client that sends on after its "Connection: close" fills no memory."""
    async with serving() as house, await house.connect() as client:
        await client.say(get("/wait", "Connection: close\r\n"))
        await house.entered.wait()
        flood = bytes(2**20)
        tracemalloc.start()
        for _ in range(32):
            await client.say(flood)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 8 * 2**20
        house.leave.set()
        assert (await client.answer()).status == 200


async def test_a_client_that_never_reads_is_cut_off() -> None:
    """An answer that nobody takes ends its connection, and delays no stop."""
    limits = attrs.evolve(PATIENT, write_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(get("/huge"))
        await house.entered.wait()
        await house.stop()
        assert house.log == []


async def test_a_client_that_never_reads_is_cut_off_by_a_stop() -> None:
    """A write in progress does not outlive the grace."""
    limits = attrs.evolve(PATIENT, grace_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(get("/huge"))
        await house.entered.wait()
        await house.stop()


async def test_a_large_answer_arrives_whole() -> None:
    """A client that reads gets all of it."""
    async with serving() as house:
        answer = await house.ask(get("/huge"))
        assert len(answer.body) == int(answer.headers[b"content-length"])


@pytest.mark.parametrize("farewell", ["close", "half-close", "reset"])
async def test_a_client_that_leaves_cancels_its_handler(farewell: str) -> None:
    """Leaving, and falling silent too, is Cancelled in the handler and no error anywhere."""
    async with serving() as house:
        async with await house.connect() as client:
            await client.say(get("/wait"))
            await house.entered.wait()
            match farewell:
                case "close":
                    await client.aclose()
                case "half-close":
                    await client.stream.send_eof()
                case _:
                    client.reset()
            await house.cancelled.wait()
        assert (await house.ask(HEALTH)).body == HEALTHY
        assert house.log == []


async def test_a_client_that_leaves_as_it_is_answered_is_no_error() -> None:
    """However the hang-up and the answer interleave, nothing is logged."""
    for turns_between in range(20):
        async with serving() as house:
            client = await house.connect()
            await client.say(get("/wait"))
            await house.entered.wait()
            client.reset()
            for _ in range(turns_between):
                await trio.lowlevel.checkpoint()
            house.leave.set()
            await house.stop()
            assert house.log == []


@pytest.mark.parametrize("text", [*SLOW_HEADS, *SLOW_BODIES, b""])
async def test_a_client_that_leaves_early_harms_nobody(text: bytes) -> None:
    """A request that breaks off reaches no handler."""
    async with serving() as house:
        async with await house.connect() as client:
            await client.say(text.replace(b"/echo", b"/wait"))
            await client.stream.send_eof()
            rest = await client.rest()
            assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")
        client = await house.connect()
        await client.say(text.replace(b"/echo", b"/wait"))
        client.reset()
        assert (await house.ask(HEALTH)).body == HEALTHY
        await house.stop()
        assert house.log == []
        assert not house.entered.is_set()


async def test_large_bodies_wait_for_room_and_small_ones_do_not() -> None:
    """Room is kept from a large body's first packets until its handler has ended."""
    limits = attrs.evolve(PATIENT, small_body_bytes=100, body_bytes=1000, large_bodies_bytes=1500)
    async with (
        serving(limits) as house,
        await house.connect() as first,
        await house.connect() as second,
    ):
        await first.say(post(b"x" * 1000, "/wait"))
        await house.entered.wait()
        await second.say(chunked(b"y" * 101, b""))
        assert (await house.ask(post(b"z" * 100))).body == b"z" * 100
        assert not second.has_mail()
        house.leave.set()
        assert (await first.answer()).status == 200
        assert (await second.answer()).body == b"y" * 101


async def test_quart_has_no_limit_of_its_own() -> None:
    """A body beyond Quart's 16 MiB arrives when the server allows it."""
    async with serving() as house:
        assert (await house.ask(post(b"x" * 17 * 2**20))).status == 200


async def test_room_is_given_in_turn() -> None:
    """A small need that comes later does not overtake a large one."""
    room, served = Room(10), []

    async def take(size_bytes: int) -> None:
        await room.take(size_bytes)
        served.append(size_bytes)

    async with trio.open_nursery() as nursery:
        for size_bytes in (6, 9, 1):
            nursery.start_soon(take, size_bytes)
            await wait_all_tasks_blocked()
        assert served == [6]
        room.give_back(6)
    assert served == [6, 9, 1]


@pytest.mark.parametrize("farewell", ["close", "reset"])
async def test_room_comes_back_from_bodies_that_break_off(farewell: str) -> None:
    """A client that leaves in the middle of its large body leaves its room to others."""
    limits = attrs.evolve(PATIENT, small_body_bytes=100, body_bytes=1000, large_bodies_bytes=1000)
    async with serving(limits) as house:
        for text in (
            post(b"x" * 1000)[:-1],
            post(b"x" * 1000, "/wait"),
            chunked(b"x" * 500, b"x" * 501),
        ):
            client = await house.connect()
            await client.say(text)
            if farewell == "close":
                await client.aclose()
            else:
                client.reset()
        assert (await house.ask(post(b"y" * 1000))).body == b"y" * 1000


async def test_a_wait_for_room_has_its_bound() -> None:
    """When no room comes free in time the answer is 503."""
    limits = attrs.evolve(
        PATIENT,
        small_body_bytes=100,
        body_bytes=1000,
        large_bodies_bytes=1000,
        body_seconds=0.05,
    )
    async with serving(limits) as house, await house.connect() as first:
        await first.say(post(b"x" * 1000, "/wait"))
        await house.entered.wait()
        answer = await house.ask(post(b"x" * 1000))
        assert answer.status == 503
        assert message(answer) == "too many large bodies at once; try again"


async def test_a_wait_for_room_is_not_the_clients_time(mock_clock: MockClock) -> None:
    """Who waited for room has the whole time for a body left."""
    limits = attrs.evolve(
        PATIENT, small_body_bytes=100, body_bytes=1000, large_bodies_bytes=1000, body_seconds=10
    )
    async with (
        serving(limits) as house,
        await house.connect() as first,
        await house.connect() as second,
    ):
        await first.say(post(b"x" * 1000, "/wait"))
        await house.entered.wait()
        await second.say(post(b"y" * 1000)[:-1])
        await wait_all_tasks_blocked()
        mock_clock.jump(9)
        house.leave.set()
        assert (await first.answer()).status == 200
        await wait_all_tasks_blocked()
        mock_clock.jump(9)
        await wait_all_tasks_blocked()
        await second.say(b"y")
        assert (await second.answer()).body == b"y" * 1000


async def test_a_body_of_many_small_chunks_does_not_hold_the_loop() -> None:
    """While a body in chunks of one byte is read, others get a turn after each chunk."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with serving() as house, trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        answer = await house.ask(chunked(*[b"x"] * 10_000, b""))
        nursery.cancel_scope.cancel()
    assert answer.body == b"x" * 10_000
    assert turns > 10_000


async def test_continue_is_said_to_who_waits_for_it() -> None:
    """A client that asks first is told to go on, or why not."""
    limits = attrs.evolve(PATIENT, body_bytes=1000)
    async with serving(limits) as house, await house.connect() as client:
        expect = "Expect: 100-continue\r\n"
        await client.say(post(b"x" * 10, headers=expect)[:-10])
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await client.say(b"x" * 10)
        assert (await client.answer()).body == b"x" * 10
        await client.say(post(b"x" * 1001, headers=expect)[:-1001])
        assert (await client.answer()).status == 413


async def test_who_was_refused_is_not_asked_to_go_on() -> None:
    """A client that would have waited, and did not, may send it all, and then reads why."""
    limits = attrs.evolve(PATIENT, body_bytes=1000)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(post(b"x" * 10**7, headers="Expect: 100-continue\r\n"))
        assert (await client.answer()).status == 413
        await client.stream.send_eof()
        assert await client.rest() == b""
