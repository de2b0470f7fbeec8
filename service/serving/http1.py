"""HTTP/1.1 as hypercorn speaks it, and what it must say and do otherwise.

Theory of operation
-------------------
Hypercorn starts the app at the end of a request's head and feeds it the body. Here the app starts
when the whole body is there, so a handler never meets a slow, oversized or broken body, and nobody
but the handler writes once it runs. Up to then the reader of the connection may refuse the request,
always in the same way: a JSON answer, and the end of the connection.

An answer is whole, too, when it is sent. So h11 reads requests and no more: what it would track of
answers is whether there was one, and a parser of its own for each request costs less.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import cast

import attrs
import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.events import Event as ConnectionEvent
from hypercorn.protocol.events import Body, EndBody, Event, Request, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    ConnectionState,
    H11SendableEvent,
    HTTPRequestEvent,
    HTTPResponseBodyEvent,
    Scope,
)

from service.core.wire import encode
from service.serving.answer import Fields, write_answer
from service.serving.handlers import Handlers
from service.serving.limits import Limits, Room
from service.serving.parser import Parser, content_length, has_two_lengths, origin_form

__all__ = ["Http1", "Shared"]

Address = tuple[str, int] | None


@attrs.frozen
class Shared:
    """What all connections of a server have in common."""

    app: ASGIFramework
    config: Config
    context: WorkerContext
    limits: Limits
    room: Room


class Http1(H11Protocol):
    """The protocol of one connection; `complete` is called when a whole request has arrived."""

    def __init__(
        self,
        shared: Shared,
        handlers: Handlers,
        addresses: tuple[Address, Address],
        send: Callable[[ConnectionEvent], Awaitable[None]],
        complete: Callable[[], None],
    ) -> None:
        super().__init__(
            ASGIWrapper(shared.app),
            shared.config,
            shared.context,
            handlers,
            ConnectionState({}),
            False,  # noqa: FBT003 - hypercorn's word for "no TLS"
            *addresses,
            send,
        )
        self.shared = shared
        self.handlers = handlers
        self.complete = complete
        self._is_last = False
        self._expect_request()

    @property
    def has_unread(self) -> bool:
        """Whether bytes are here that no request has claimed yet."""
        return bool(self.connection.trailing_data[0])

    @property
    def leaves_unread(self) -> bool:
        """Whether the client may still be sending what nobody will read."""
        return self.has_unread or self.connection.their_state in {h11.SEND_BODY, h11.ERROR}

    async def refuse(self, status: int, message: str) -> None:
        """Answer `status` if nothing was answered yet, and end the connection."""
        if not self._is_answered:
            self._is_last = True
            await self.answer(status, *_error_answer(message))
        await self.send(Closed())

    async def answer(self, status: int, fields: Fields, body: bytes) -> None:
        """Send an answer; while the service stops, each is the last.

        Raises ValueError for fields that are not HTTP; then nothing was sent.
        """
        self._is_last = (
            self._is_last
            or self.connection.their_state is not h11.DONE
            or self.keep_alive_requests >= self.config.keep_alive_max_requests
            or self.context.terminated.is_set()
        )
        data = write_answer(self._method, status, fields, body, is_last=self._is_last)
        self._is_answered = True
        await self.send(RawData(data))

    async def go_on(self) -> None:
        """Turn to the next request, or end the connection after the last."""
        await self._close_stream()
        is_over = self._is_last or self.context.terminated.is_set()
        if not is_over:
            self._expect_request()
        await self.can_read.set()
        await self.send(Closed() if is_over else Updated(idle=True))

    def _expect_request(self) -> None:
        """Begin a parser with what has come already."""
        unread, is_end = self.connection.trailing_data
        self.connection: h11.Connection = Parser(
            h11.SERVER, max_incomplete_event_size=self.shared.limits.head_bytes
        )
        if unread:
            self.connection.receive_data(unread)
        if is_end:
            self.connection.receive_data(b"")
        self._method = ""
        self._is_answered = False

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        """Ask a client that waits with its body to go on, unless it has been told not to."""
        if not self._is_answered:
            await super()._send_h11_event(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Do not change to HTTP/2: hypercorn would, at a client's word."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Begin a request, never a WebSocket."""
        self._method = request.method.decode()
        target = origin_form(request.target)
        if request.http_version not in {b"1.1", b"1.0"}:
            await self.refuse(505, "this server speaks HTTP/1.1")
        elif has_two_lengths(request.headers):
            await self.refuse(400, "a body has a Content-Length or a Transfer-Encoding, not both")
        elif target is None:
            await self.refuse(400, "the request target must be a path, or http:// and so on")
        else:
            self.stream = _Stream(self)
            await self.stream.handle(
                Request(
                    stream_id=STREAM_ID,
                    headers=list(request.headers),
                    http_version=request.http_version.decode(),
                    method=self._method.upper(),
                    raw_path=target,
                    state=self.connection_state,
                )
            )
            self.keep_alive_requests += 1

    async def _send_error_response(self, status_code: int) -> None:
        """Answer bytes that are not HTTP in JSON, where hypercorn sends an empty page."""
        await self.refuse(status_code, f"{HTTPStatus(status_code).phrase}: not a request of HTTP")


class _Stream(HTTPStream):
    """One request and its answer."""

    def __init__(self, protocol: Http1) -> None:
        super().__init__(
            protocol.app,
            protocol.config,
            protocol.context,
            protocol.task_group,
            protocol.ssl,
            protocol.client,
            protocol.server,
            protocol.stream_send,  # of which nothing is left to do
            STREAM_ID,
        )
        self._protocol = protocol
        self._limits = protocol.shared.limits
        self._room = protocol.shared.room
        self._request: Request
        self._declared_bytes = 0
        self._body = bytearray()
        self._taken_bytes = 0
        self._is_started = False
        self.app = self._attend

    async def handle(self, event: Event) -> None:
        """Take what the client sent, or that it left."""
        if self.closed:
            return
        if isinstance(event, Request):
            self._request = event
            self._declared_bytes = content_length(event.headers)
            if self._declared_bytes > self._limits.body_bytes:
                await self._refuse_size()
        elif isinstance(event, Body):
            await self._add(event.data)
        elif isinstance(event, EndBody):
            await self._start()
        elif isinstance(event, StreamClosed):
            self._close()

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Send what the app says, its body in one part; None is its end."""
        if message is None:
            self._let_body_go()
            if not self.closed:
                await self._answer(500, *_error_answer(HTTPStatus.INTERNAL_SERVER_ERROR.phrase))
        elif message["type"] == "http.response.start":
            self.response = message
        else:
            body = cast("HTTPResponseBodyEvent", message)["body"]
            await self._answer(self.response["status"], self.response["headers"], body)

    async def _answer(self, status: int, fields: Fields, body: bytes) -> None:
        await self._protocol.answer(status, fields, body)
        self.state = ASGIHTTPState.CLOSED
        await self._protocol.go_on()

    async def _add(self, data: bytes) -> None:
        if self._body:
            await trio.lowlevel.checkpoint()  # a body of a million chunks must not hold the loop
        size_bytes = len(self._body) + len(data)
        if size_bytes > self._limits.body_bytes:
            await self._refuse_size()
            return
        if size_bytes > self._limits.small_body_bytes and not self._taken_bytes:
            await self._take_room()
        if not self.closed:
            self._body += data

    async def _refuse_size(self) -> None:
        await self._refuse(413, f"the body is larger than {self._limits.body_bytes} bytes")

    async def _take_room(self) -> None:
        """Wait for room for the whole body, so that no two wait for each other half-way."""
        size_bytes = self._declared_bytes or self._limits.body_bytes
        with trio.move_on_after(self._limits.body_seconds):
            await self._room.take(size_bytes)
            self._taken_bytes = size_bytes
            await self._protocol.send(Updated(idle=False))  # the time for the body begins now
        if not self._taken_bytes:
            await self._refuse(503, "too many large bodies at once; try again")

    def _let_body_go(self) -> None:
        self._body.clear()  # this stream is part of a cycle, which is found as garbage much later
        self._room.give_back(self._taken_bytes)
        self._taken_bytes = 0

    async def _start(self) -> None:
        self._is_started = True
        self._protocol.complete()
        await super().handle(self._request)

    async def _attend(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,  # noqa: ARG002 - hypercorn's signature
        send: ASGISendCallable,
        sync_spawn: object,  # noqa: ARG002 - hypercorn's signature
        call_soon: object,  # noqa: ARG002 - hypercorn's signature
    ) -> None:
        """Run the app."""
        await self._protocol.shared.app(scope, self._receive, send)

    async def _receive(self) -> HTTPRequestEvent:
        """Hand the body to the app."""
        body, self._body = bytes(self._body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    def _close(self) -> None:
        """Cancel the app when its client leaves, and only then.

        The stream is closed after each answer, too, within the app's last send: the app returns
        from it to tell how the request went, and the connection goes on.
        """
        self.closed = True
        if not self._is_started:
            self._let_body_go()
        elif self.state is not ASGIHTTPState.CLOSED:
            self._protocol.handlers.cancel()

    async def _refuse(self, status: int, message: str) -> None:
        self.closed = True
        self._let_body_go()
        await self._protocol.refuse(status, message)


def _error_answer(message: str) -> tuple[Fields, bytes]:
    """Return header fields and body of an error: in JSON, like everybody's in the house."""
    body = encode({"status": "error", "message": message}).encode()
    return [(b"content-type", b"application/json")], body
