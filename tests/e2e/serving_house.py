"""A small app, served over real sockets, and a client that can misbehave."""

import logging
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import attrs
import h11
import trio
from quart import ResponseReturnValue, request
from quart_trio import QuartTrio

from service.serving import Limits, WholeRequest, listen, serve

NEVER = 10**6  # seconds: longer than any test; a test that needs the bound hangs, and fails
PATIENT = Limits(
    head_seconds=NEVER,
    body_seconds=NEVER,
    keep_alive_seconds=NEVER,
    write_seconds=NEVER,
    linger_seconds=NEVER,
    grace_seconds=NEVER,
)
HUGE = 50 * 2**20  # bytes: more than sockets buffer


@attrs.frozen
class Answer:
    """An answer as the client parsed it."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


@attrs.define
class House:
    """A running server and what its handlers saw."""

    listener: socket.socket
    app: QuartTrio
    port: int
    log: list[logging.LogRecord] = attrs.field(factory=list)
    log_faults: list[Exception] = attrs.field(factory=list)
    leave: trio.Event = attrs.field(factory=trio.Event)
    stopping: trio.Event = attrs.field(factory=trio.Event)
    returned: trio.Event = attrs.field(factory=trio.Event)
    entered: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    cancelled: trio.Event = attrs.field(factory=trio.Event)

    async def stop(self) -> None:
        """Ask the server to stop and wait until it has."""
        self.stopping.set()
        await self.returned.wait()

    async def connect(self) -> "Client":
        """Open a connection; its owner closes it."""
        return Client(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def ask(self, text: bytes) -> Answer:
        """Ask on a connection of its own."""
        async with await self.connect() as client:
            await client.say(text)
            return await client.answer()


class Client(trio.abc.AsyncResource):
    """A connection on which any bytes can be sent, while answers are read as HTTP."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._unread = b""

    async def aclose(self) -> None:
        """Close politely (FIN), unless the answer lies unread."""
        await self.stream.aclose()

    async def say(self, text: bytes) -> None:
        """Send `text` as it is."""
        await self.stream.send_all(text)

    async def answer(self, method: str = "POST") -> Answer:
        """Read one answer."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        parser.send(h11.EndOfMessage())
        if self._unread:
            parser.receive_data(self._unread)
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
        assert head is not None
        self._unread = parser.trailing_data[0]
        return Answer(head.status_code, dict(head.headers), bytes(body))

    async def rest(self) -> bytes:
        """Read to the end; a reset counts as one."""
        rest = self._unread
        try:
            while data := await self.stream.receive_some():
                rest += data
        except trio.BrokenResourceError:
            pass
        return rest

    def has_mail(self) -> bool:
        """Whether an answer, or the end, has come."""
        return bool(self._unread or select.select([self.stream.socket], [], [], 0)[0])

    def reset(self) -> None:
        """Vanish without a farewell (RST)."""
        linger = b"\1\0\0\0\0\0\0\0"
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.stream.socket.close()


def post(body: bytes, path: str = "/echo", headers: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(*chunks: bytes, path: str = "/echo") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


def get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()


HEALTH = get("/health")
HEALTHY = b'{"status":"ok"}\n'


@asynccontextmanager
async def serving(limits: Limits = PATIENT) -> AsyncIterator[House]:
    """Serve the test app; leaving asks the server to stop and waits for it."""
    listener = listen("127.0.0.1", 0)
    house = House(listener, QuartTrio("house"), listener.getsockname()[1])
    _furnish(house)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await serve(
                house.app,
                listener,
                stop=house.stopping.wait,
                log=_logger(house),
                limits=limits,
            )
            house.returned.set()

        nursery.start_soon(run)
        with trio.fail_after(30):  # a hang fails the test
            yield house
            await house.stop()


def _logger(house: House) -> logging.Logger:
    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if house.log_faults:
                raise house.log_faults.pop()
            house.log.append(record)

    logger = logging.Logger("serving")  # noqa: LOG001 - one of its own for each test
    logger.addHandler(Keeper())
    return logger


def _furnish(house: House) -> None:
    app = house.app

    @app.get("/health")
    async def health() -> ResponseReturnValue:
        return {"status": "ok"}

    @app.post("/echo")
    async def echo() -> ResponseReturnValue:
        return cast("WholeRequest", request).whole

    @app.route("/wait", methods=["GET", "POST"])
    async def wait() -> ResponseReturnValue:
        """Wait to be let go."""
        house.entered.set()
        try:
            await house.leave.wait()
        except trio.Cancelled:
            house.cancelled.set()
            raise
        return {"status": "left"}

    @app.get("/huge")
    async def huge() -> ResponseReturnValue:
        house.entered.set()
        return b"x" * HUGE

    @app.post("/unread")
    async def unread() -> ResponseReturnValue:
        return {"status": "error"}, 401

    @app.get("/crash")
    async def crash() -> ResponseReturnValue:
        raise LookupError("a fault in a handler")

    @app.get("/bad-header")
    async def bad_header() -> ResponseReturnValue:
        return {"status": "ok"}, 200, {request.args["name"]: "x"}

    @app.get("/bad-frame")
    async def bad_frame() -> ResponseReturnValue:
        headers = {"Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "close"}
        return "longer than it says", 200, headers
