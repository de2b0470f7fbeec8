"""Servers that hang, flood, lie or hang up cost a bounded time and a bounded memory."""

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import pytest
import trio

from service.core.run import Trigger
from service.observability.logs import get_logger
from service.tasks.context import Context
from service.tasks.http import HttpError
from service.tasks.outbound import Outbound
from service.tasks.workspace import Workspace

MAX_BYTES: Final = 100_000
TRY_SECONDS: Final = 4
"""What a try may take here; that it does not take much longer is the promise."""

PATIENCE_SECONDS: Final = 20.0
"""For a loaded machine: what does not end within it would not end at all."""

Serve = Callable[[trio.SocketStream], Awaitable[None]]

HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"


async def say_nothing(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await trio.sleep_forever()


async def hang_in_the_head(stream: trio.SocketStream) -> None:
    await stream.send_all(HEAD)
    await trio.sleep_forever()


async def hang_in_the_body(stream: trio.SocketStream) -> None:
    await stream.send_all(HEAD + b"content-length: 100\r\n\r\nthe first")
    await trio.sleep_forever()


async def drip(stream: trio.SocketStream) -> None:
    await stream.send_all(HEAD + b"content-length: 1000000\r\n\r\n")
    while True:
        await stream.send_all(b"x")
        await trio.sleep(0.05)


async def flood(stream: trio.SocketStream) -> None:
    await stream.send_all(HEAD + b"\r\n")
    while True:
        await stream.send_all(b"x" * 65536)


async def flood_by_chunks(stream: trio.SocketStream) -> None:
    await stream.send_all(HEAD + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        await stream.send_all(b"400\r\n" + b"x" * 1024 + b"\r\n")


async def flood_the_head(stream: trio.SocketStream) -> None:
    await stream.send_all(HEAD)
    while True:
        await stream.send_all(b"x-more: " + b"x" * 8192 + b"\r\n")


async def bomb(stream: trio.SocketStream) -> None:
    body = gzip.compress(b"\0" * 50_000_000)
    assert len(body) < MAX_BYTES
    head = f"content-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    await stream.send_all(HEAD + head + body)


async def lie_about_gzip(stream: trio.SocketStream) -> None:
    await stream.send_all(HEAD + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello")


async def end_too_soon(stream: trio.SocketStream) -> None:
    await stream.send_all(HEAD + b"content-length: 100\r\n\r\nhello")


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.receive_some()


async def reset(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    linger_not = b"\1\0\0\0\0\0\0\0"
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger_not)


async def talk_nonsense(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\x16\x03\x01 nonsense \r\n\r\n" * 100)


async def send_round_in_circles(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n" * 20)


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    """Hold a server; whoever it talks to may leave."""

    async def converse(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await serve(stream)
        except trio.BrokenResourceError:
            pass  # the client would not take it

    async with trio.open_nursery() as nursery:  # noqa: ASYNC101 - the fixture of one test
        listeners = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), converse, 0)
        port = listeners[0].socket.getsockname()[1]
        yield f"http://127.0.0.1:{port}/"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def context() -> AsyncIterator[Context]:
    async with Outbound() as outbound:
        yield Context(
            run_id="r1",
            job_id="fetch",
            attempt=1,
            max_attempts=1,
            trigger=Trigger.MANUAL,
            tick=None,
            log=get_logger("task.fetch"),
            workspace=Workspace(outbound=outbound),
        )


@pytest.mark.parametrize(
    ("serve", "what"),
    [
        (say_nothing, "no answer within 4 s"),
        (hang_in_the_head, "no answer within 4 s"),
        (hang_in_the_body, "no answer within 4 s"),
        (drip, "no answer within 4 s"),
        (flood, "the answer is larger than 100,000 bytes"),
        (flood_by_chunks, "the answer is larger than 100,000 bytes"),
        (flood_the_head, "RemoteProtocolError"),
        (bomb, "the answer is larger than 100,000 bytes"),
        (lie_about_gzip, "DecodingError: the answer is not the gzip that it says"),
        (end_too_soon, "RemoteProtocolError: peer closed connection"),
        (hang_up, "RemoteProtocolError: Server disconnected without sending a response"),
        (reset, "ReadError"),
        (talk_nonsense, "RemoteProtocolError"),
        (send_round_in_circles, "TooManyRedirects"),
    ],
)
async def test_a_hostile_server_is_an_error(serve: Serve, what: str) -> None:
    """Whatever it does, the request ends within its bounds, and says what went wrong."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with serving(serve) as url, context() as ctx:
            with pytest.raises(HttpError, match=what) as raised:
                await ctx.http.request(
                    "GET", url, timeout=TRY_SECONDS, retries=1, max_bytes=MAX_BYTES
                )
    assert raised.value.status is None
    assert str(raised.value).startswith("GET 127.0.0.1: ")


async def test_a_server_that_is_not_there_is_an_error() -> None:
    """A refused connection is tried again, and then told."""
    with trio.socket.socket() as free:
        await free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with context() as ctx:
        with pytest.raises(HttpError, match=r"^GET 127.0.0.1: ConnectError.*the last of 2 tries$"):
            await ctx.http.request("GET", f"http://127.0.0.1:{port}/", retries=1)


async def test_a_step_bounds_all_tries_together() -> None:
    """A step's time ends a request that is being tried again and again."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with serving(say_nothing) as url, context() as ctx:
            with pytest.raises(TimeoutError, match="step 'fetch' timed out after 1 s"):
                await ctx.step("fetch", ctx.http.get, url, timeout=1)


async def test_connections_are_given_back() -> None:
    """A hundred and fifty failed requests leave room for the next: none keeps its connection."""
    answers: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        answers.append(HEAD + b"content-length: 100\r\n\r\nhello")
        if len(answers) > 150:
            await stream.send_all(HEAD + b"content-length: 2\r\n\r\nok")
        else:
            await stream.send_all(answers[-1])

    async with serving(serve) as url, context() as ctx:
        for _ in range(150):
            with pytest.raises(HttpError):
                await ctx.http.request("GET", url, retries=0)
        assert (await ctx.http.get(url)).text == "ok"


async def test_cookies_are_nobodys() -> None:
    """What a server sets for one task is not sent by another."""
    heard: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        heard.append(bytes(await stream.receive_some()))
        await stream.send_all(HEAD + b"set-cookie: session=1\r\ncontent-length: 2\r\n\r\nok")

    async with serving(serve) as url, context() as ctx:
        await ctx.http.get(url)
        await ctx.http.get(url)
    assert not [head for head in heard if b"cookie" in head.lower()]
    assert b"user-agent: cron-webhook-service\r\n" in heard[0].lower()


async def test_a_zipped_answer_is_unzipped() -> None:
    """What is sent by gzip, which we accept, is read as what it is."""
    body = gzip.compress(b"hello")

    async def serve(stream: trio.SocketStream) -> None:
        assert b"accept-encoding: gzip\r\n" in (await stream.receive_some()).lower()
        head = f"content-encoding: gzip\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        await stream.send_all(HEAD + head + body)

    async with serving(serve) as url, context() as ctx:
        assert (await ctx.http.get(url)).text == "hello"
