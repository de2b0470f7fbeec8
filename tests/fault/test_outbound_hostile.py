"""Servers that hang, flood, lie or hang up cost a bounded time and a bounded memory."""

import gzip
import traceback
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


def zipped(body: bytes, coding: str = "gzip") -> Serve:
    async def serve(stream: trio.SocketStream) -> None:
        head = f"content-encoding: {coding}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        await stream.receive_some()
        await stream.send_all(HEAD + head + body)

    return serve


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


async def flood_while_redirecting(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n")
    while True:
        await stream.send_all(b"x" * 65536)


async def send_nowhere(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(
        b"HTTP/1.1 302 Found\r\nlocation: javascript:no\r\ncontent-length: 0\r\n\r\n"
    )


async def promise_for_ever(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)


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
        (lie_about_gzip, "the answer is not the gzip that it says"),
        (zipped(gzip.compress(b"hello" * 100)[:-9]), "the answer is not one gzip, and a whole one"),
        (zipped(gzip.compress(b"hello") * 2), "the answer is not one gzip, and a whole one"),
        (zipped(b"hello", "br"), "the answer is encoded as 'br', not as gzip"),
        (end_too_soon, "RemoteProtocolError: peer closed connection"),
        (hang_up, "RemoteProtocolError: Server disconnected without sending a response"),
        (reset, "ReadError"),
        (talk_nonsense, "RemoteProtocolError"),
        (send_round_in_circles, "more than 5 redirects"),
        (flood_while_redirecting, "more than 5 redirects"),
        (send_nowhere, "InvalidURL: For absolute URLs"),
        (promise_for_ever, "no answer within 4 s"),
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


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
async def test_a_zipped_answer_is_unzipped(coding: str) -> None:
    """What is sent by gzip, which we accept, is read as what it is."""
    heard: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        heard.append(bytes(await stream.receive_some()))
        head = f"content-encoding: {coding}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        await stream.send_all(HEAD + head + (b"" if heard[0].startswith(b"HEAD") else body))

    body = gzip.compress(b"hello")
    async with serving(serve) as url, context() as ctx:
        assert (await ctx.http.get(url)).text == "hello"
        assert b"accept-encoding: gzip\r\n" in heard.pop().lower()
        assert (await ctx.http.request("HEAD", url)).content == b""


async def test_a_redirect_is_followed_without_its_body() -> None:
    """The answer is where the server sends us, and what it says on the way is not read."""
    paths: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        paths.append(bytes(await stream.receive_some()).split()[1])
        if paths[-1] == b"/there":
            await stream.send_all(HEAD + b"content-length: 2\r\n\r\nok")
        else:
            await stream.send_all(b"HTTP/1.1 302 Found\r\nlocation: /there\r\n\r\n")
            await trio.sleep_forever()

    async with serving(serve) as url, context() as ctx:
        assert (await ctx.http.get(url)).text == "ok"
    assert paths == [b"/", b"/there"]


async def test_a_redirect_takes_no_credentials_to_strangers() -> None:
    """Another host is not told the token that was meant for the first."""
    heard: list[bytes] = []

    async def stranger(stream: trio.SocketStream) -> None:
        heard.append(bytes(await stream.receive_some()))
        await stream.send_all(HEAD + b"content-length: 2\r\n\r\nok")

    async with serving(stranger) as elsewhere:

        async def serve(stream: trio.SocketStream) -> None:
            heard.append(bytes(await stream.receive_some()))
            head = f"HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n"
            await stream.send_all(head.encode())

        async with serving(serve) as url, context() as ctx:
            await ctx.http.get(url, headers={"authorization": "Bearer s3cret-canary"})
    assert [b"canary" in head for head in heard] == [True, False]


@pytest.mark.parametrize("name", ["authorization", "x-key"])
async def test_a_bad_header_is_not_repeated(name: str) -> None:
    """A token that was read with its line's end is refused, and told to nobody."""
    token = "canary" * 2  # so that it does not stand in the lines that a traceback shows
    async with serving(say_nothing) as url, context() as ctx:
        with pytest.raises(HttpError, match="a header is not what HTTP allows") as raised:
            await ctx.http.get(url, headers={name: f"Bearer {token}\n"})
    assert token not in "".join(traceback.format_exception(raised.value))
