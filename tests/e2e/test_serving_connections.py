"""Connections live as long as they are of use, and no longer."""

import resource
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope
from quart import ResponseReturnValue
from quart_trio.wrappers import TrioResponse

from tests.e2e.serving_house import HEALTH, HEALTHY, PATIENT, House, get, post, serving


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    """After an answer the idle time begins anew, and ends in EOF."""
    limits = attrs.evolve(PATIENT, keep_alive_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        await client.say(HEALTH)
        assert (await client.answer()).body == HEALTHY
        assert await client.rest() == b""


async def test_a_silent_connection_is_closed_after_its_time() -> None:
    """A client that never says a word gets EOF and no answer."""
    limits = attrs.evolve(PATIENT, keep_alive_seconds=0.05)
    async with serving(limits) as house, await house.connect() as client:
        assert await client.rest() == b""


async def test_connection_close_is_closed_at_once() -> None:
    """Who says that nothing follows does not wait for the end."""
    async with serving() as house, await house.connect() as client:
        await client.say(get("/health", "Connection: close\r\n"))
        assert (await client.answer()).body == HEALTHY
        assert await client.rest() == b""


async def test_a_client_of_http_1_0_is_answered_and_closed() -> None:
    """HTTP/1.0 keeps no connection alive."""
    async with serving() as house, await house.connect() as client:
        await client.say(b"GET /health HTTP/1.0\r\n\r\n")
        assert (await client.rest()).endswith(HEALTHY)


async def test_many_requests_share_a_connection() -> None:
    """Keep-alive works, also after an answer without a body and an unread request."""
    async with serving() as house, await house.connect() as client:
        for _ in range(20):
            await client.say(post(b"hello"))
            assert (await client.answer()).body == b"hello"
            await client.say(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.answer("HEAD")).body == b""
            await client.say(post(b"x" * 2**20, "/unread"))
            assert (await client.answer()).status == 401


async def test_an_answer_in_parts_arrives_whole() -> None:
    """An app may say its answer bit by bit, and the connection goes on after it."""
    async with serving() as house, await house.connect() as client:

        @house.app.get("/parts")
        async def parts() -> ResponseReturnValue:
            return TrioResponse(iter((b"one ", b"two ", b"three")))

        for _ in range(2):
            await client.say(get("/parts"))
            assert (await client.answer()).body == b"one two three"


async def test_the_end_of_an_answer_is_no_hang_up() -> None:
    """The app is not told that its client left when it was answered, nor cancelled for it."""
    heard: list[str] = []
    async with serving() as house:
        inner = house.app.asgi_app

        async def listening(
            scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
        ) -> None:
            async def hear() -> ASGIReceiveEvent:
                event = await receive()
                heard.append(event["type"])
                return event

            await inner(scope, hear, send)
            heard.append("end")

        house.app.asgi_app = listening  # type: ignore[method-assign]
        assert (await house.ask(post(b"hello"))).body == b"hello"
        await house.stop()
    assert heard == ["http.request", "end"]


async def test_idle_clients_do_not_delay_a_stop() -> None:
    """With an endless grace the server returns at once: idle is not in flight."""
    async with serving() as house, await house.connect() as client, await house.connect() as silent:
        await client.say(HEALTH)
        await client.answer()
        await house.stop()
        assert await client.rest() == b""
        assert await silent.rest() == b""


async def test_a_thousand_idle_clients_give_their_descriptors_back() -> None:
    """When the last of 1,000 clients sees EOF, the server holds none of their descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.skip("the machine allows too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    limits = attrs.evolve(PATIENT, keep_alive_seconds=1, connections=2000)
    async with serving(limits) as house:
        before = open_descriptors()
        clients = []
        for _ in range(1000):
            client = await house.connect()
            clients.append(client)
            await client.say(HEALTH)
            await client.answer()
        for client in clients:
            assert await client.rest() == b""
        assert open_descriptors() == before + len(clients)
        for client in clients:
            await client.aclose()


async def two_take_turns(house: House) -> None:
    """See that the second client waits until the first has left."""
    async with await house.connect() as first, await house.connect() as second:
        await second.say(HEALTH)
        for _ in range(3):
            await first.say(HEALTH)
            assert (await first.answer()).body == HEALTHY
        assert not second.has_mail()
        await first.aclose()
        assert (await second.answer()).body == HEALTHY


async def test_beyond_the_limit_a_client_waits() -> None:
    """The client after the last allowed is served when another leaves."""
    async with serving(attrs.evolve(PATIENT, connections=1)) as house:
        await two_take_turns(house)


@pytest.fixture
def _few_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (65, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("_few_descriptors")
async def test_descriptors_are_left_for_others() -> None:
    """Whatever `connections` says, clients wait before they take the last descriptors."""
    async with serving() as house:
        await two_take_turns(house)
