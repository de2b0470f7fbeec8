"""A stop loses no request, and no fault goes unseen."""

import json
import logging
import os
import socket
import traceback
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import wait_all_tasks_blocked

from service.serving import listen, serve
from tests.e2e.serving_house import HEALTH, HEALTHY, HUGE, PATIENT, get, post, serving


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


async def test_a_stop_in_the_middle_of_an_answer_ends_its_connection() -> None:
    """A client that is still reading when the stop comes gets all of it, and then the end."""
    async with serving() as house, await house.connect() as client:
        await client.say(get("/huge"))
        await house.entered.wait()
        await wait_all_tasks_blocked()
        house.stopping.set()
        await wait_all_tasks_blocked()
        assert len((await client.answer()).body) == HUGE
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
    """A request that lies unread in the socket when the stop comes is read first."""
    async with serving() as house, await house.connect() as client:
        await client.say(HEALTH)
        await client.answer()
        os.write(client.stream.socket.fileno(), HEALTH)  # no other task runs before the stop
        house.stopping.set()
        assert (await client.answer()).body == HEALTHY
        assert await client.rest() == b""


async def test_a_client_that_came_with_the_stop_is_answered() -> None:
    """So is the request of a client that nobody has accepted yet."""
    async with serving() as house:
        await house.ask(HEALTH)
        with socket.create_connection(("127.0.0.1", house.port)) as client:
            client.sendall(HEALTH)
            house.stopping.set()  # no other task has run since the client came
            await house.returned.wait()
            assert client.recv(1000).endswith(HEALTHY)


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
    """Clients that stall in every way there is, together, delay a stop by the grace only."""
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


@pytest.mark.parametrize("name", ["not%20a%20name", "X-One:%20x%0d%0aX-Two"])
async def test_an_answer_that_is_not_http_is_a_fault_of_the_handler(name: str) -> None:
    """It is logged, and the client gets a 500 and may go on."""
    async with serving() as house, await house.connect() as client:
        await client.say(get(f"/bad-header?name={name}"))
        assert (await client.answer()).status == 500
        await client.say(HEALTH)
        assert (await client.answer()).body == HEALTHY
        assert [record.exc_info is not None for record in house.log] == [True]


async def test_the_server_alone_tells_where_an_answer_ends() -> None:
    """Whatever a handler claims, its client gets the whole answer and no more, and may go on."""
    async with serving() as house, await house.connect() as client:
        await client.say(get("/bad-frame"))
        answer = await client.answer()
        assert answer.body == b"longer than it says"
        assert b"connection" not in answer.headers
        await client.say(HEALTH)
        assert (await client.answer()).body == HEALTHY


async def test_a_fault_of_one_connection_leaves_the_others() -> None:
    """What nobody foresaw (here: a log that fails) is logged, and costs one connection."""
    async with serving() as house:
        house.log_faults.append(_FaultError())
        await house.ask(get("/crash"))
        assert (await house.ask(HEALTH)).body == HEALTHY
        assert [record.getMessage() for record in house.log] == ["a connection failed"]


async def test_a_crash_in_the_background_ends_the_server() -> None:
    """No server goes on answering for an app whose background task has died."""
    with pytest.RaisesGroup(_FaultError, flatten_subgroups=True):
        async with serving() as house:
            await house.ask(HEALTH)
            house.app.nursery.start_soon(_fail)
            await trio.sleep_forever()


async def test_a_listener_that_fails_ends_the_server() -> None:
    """No service goes on that cannot be reached."""
    with pytest.RaisesGroup(
        pytest.RaisesExc(OSError, match="Invalid argument"), flatten_subgroups=True
    ):
        async with serving() as house:
            await house.ask(HEALTH)
            house.listener.shutdown(socket.SHUT_RDWR)
            await trio.sleep_forever()


async def _serve(
    app: QuartTrio, listener: socket.socket, stop: Callable[[], Awaitable[None]]
) -> None:
    await serve(app, listener, stop=stop, log=logging.getLogger(__name__), limits=PATIENT)


async def test_a_fault_in_stop_ends_the_server() -> None:
    """Who cannot tell when to stop must not run."""
    with pytest.RaisesGroup(_FaultError, flatten_subgroups=True):
        await _serve(QuartTrio("house"), listen("127.0.0.1", 0), stop=_fail)


async def test_an_app_that_cannot_start_is_not_served() -> None:
    """Its fault is raised, and the port is free again."""
    app, listener = QuartTrio("house"), listen("127.0.0.1", 0)
    app.before_serving(_fail)
    app.logger.disabled = True  # Quart tells it, too
    with pytest.RaisesGroup(_FaultError, flatten_subgroups=True):
        await _serve(app, listener, stop=trio.sleep_forever)
    assert listener.fileno() == -1


async def test_the_app_is_told_of_start_and_end() -> None:
    """What the app wants done before and after serving is done, in this order."""
    app, done = QuartTrio("house"), []

    async def note(what: str) -> None:
        done.append(what)

    app.before_serving(partial(note, "before"))
    app.after_serving(partial(note, "after"))
    await _serve(app, listen("127.0.0.1", 0), stop=partial(note, "served"))
    assert done == ["before", "served", "after"]


class _FaultError(Exception):
    pass


async def _fail() -> None:
    raise _FaultError
