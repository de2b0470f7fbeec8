"""A stop loses no request, and no fault goes unseen."""

import errno
import json
import socket
import traceback

import attrs
import pytest
import trio

from service.core.errors import ConfigError
from service.serving import Limits, listen
from tests.e2e.serving_house import HEALTH, HEALTHY, PATIENT, House, get, post, serving


async def test_a_request_in_flight_is_answered() -> None:
    """What was asked before the stop is answered after it, and is told to come no more."""
    async with serving() as house, await house.connect() as client:
        await client.say(get("/wait"))
        await house.entered.wait()
        house.stopping.set()
        with pytest.raises(OSError, match="all attempts to connect"):  # noqa: PT012
            while True:  # until the listener has closed
                await (await house.connect()).aclose()
        house.leave.set()
        answer = await client.answer()
        assert json.loads(answer.body) == {"status": "left"}
        assert answer.headers[b"connection"] == b"close"
        assert await client.rest() == b""
        await house.returned.wait()


async def test_a_request_half_said_is_answered() -> None:
    """Who had begun to ask when the stop came may finish."""
    async with serving() as house, await house.connect() as client:
        await client.say(post(b"hello")[:-3])
        async with await house.connect() as other:
            await other.say(get("/wait"))
            await house.entered.wait()
            house.stopping.set()
            house.leave.set()
            await other.rest()
        await client.say(b"llo")
        assert (await client.answer()).body == b"hello"
        await house.returned.wait()


async def test_a_request_that_came_with_the_stop_is_answered() -> None:
    """What lies unread when the stop comes is read first."""
    async with serving() as house, await house.connect() as client:
        for _ in range(50):
            await client.say(HEALTH)
            assert (await client.answer()).body == HEALTHY
        client.stream.socket.setblocking  # noqa: B018
        await client.say(HEALTH)
        house.stopping.set()
        assert (await client.answer()).body == HEALTHY


async def test_a_handler_that_hangs_is_cut_off() -> None:
    """After the grace the server returns, says so, and the handler was cancelled."""
    async with serving(attrs.evolve(PATIENT, grace_seconds=0.05)) as house:
        async with await house.connect() as client:
            await client.say(get("/wait"))
            await house.entered.wait()
            await house.stop()
            assert house.cancelled.is_set()
            assert await client.rest() == b""
        assert [record.getMessage() for record in house.log] == [
            "clients were cut off after 0.05 s of grace"
        ]


async def test_hostile_clients_do_not_outlast_the_grace() -> None:
    """Clients that stall in every way there is, together, delay a stop by no more than the grace."""
    async with serving(attrs.evolve(PATIENT, grace_seconds=0.05, body_bytes=1000)) as house:
        texts = [
            b"GET",
            HEALTH[:-2],
            post(b"hello")[:-1],
            post(b"x" * 1001)[:-1],
            get("/huge"),
            get("/wait"),
            get("/wait") + HEALTH,
            b"hello\r\n\r\n",
            b"",
        ]
        clients = [await house.connect() for _ in texts]
        for client, text in zip(clients, texts, strict=True):
            await client.say(text)
        await house.entered.wait()
        await house.stop()
        for client in clients:
            await client.aclose()


async def test_a_handler_that_fails_is_answered_and_logged(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A fault is a JSON 500 that tells nothing, a traceback in the log, and no more."""
    async with serving() as house, await house.connect() as client:
        await client.say(get("/crash"))
        answer = await client.answer()
        assert answer.status == 500
        assert json.loads(answer.body) == {"status": "error", "message": "Internal Server Error"}
        await client.say(b"HEAD /crash HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer("HEAD")).status == 500
        await client.say(HEALTH)
        assert (await client.answer()).body == HEALTHY
        told = house.log[0].exc_info
        assert told is not None
        assert "LookupError: a fault in a handler" in "".join(traceback.format_exception(told[1]))
        assert len(house.log) == 2
    assert capfd.readouterr() == ("", "")


async def test_a_fault_of_a_connection_ends_only_that_connection() -> None:
    """What nobody foresaw is logged with its traceback; the others are still served."""
    async with serving() as house:
        async with await house.connect() as client:
            await client.say(get("/forged"))
            assert b"forged" not in await client.rest()
        assert (await house.ask(HEALTH)).body == HEALTHY
        assert house.log[0].exc_info is not None


class _FaultError(Exception):
    pass


async def _serve_with(house_is_up: trio.Event, fault: str) -> None:
    async with serving() as house:
        house_is_up.set()
        if fault == "background":
            house.app.nursery.start_soon(_fail)
        await trio.sleep_forever()


async def _fail() -> None:
    raise _FaultError


async def test_a_crash_in_the_background_ends_the_server() -> None:
    """No server goes on answering for an app whose background task has died."""
    with pytest.RaisesGroup(_FaultError, flatten_subgroups=True):
        async with serving() as house:
            await house.ask(HEALTH)
            house.app.nursery.start_soon(_fail)
            await trio.sleep_forever()
