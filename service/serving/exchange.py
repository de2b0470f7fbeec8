"""One request on its way through Quart, in the task that the server started for it.

Quart reads the body in a second task, which also waits for the client to leave. Here the body is
whole before the app starts, and the server itself cancels the app of a client that left; it bounds
the time for sending, too. So there is nothing left to do side by side, or to wait for: the body is
`request.whole`, and Quart's own ways to it find none.
"""

from typing import cast

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPRequestEvent
from quart import Response
from quart.typing import ResponseTypes
from quart.utils import encode_headers
from quart.wrappers.response import DataBody
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers.request import TrioRequest

__all__ = ["Exchange", "WholeRequest"]


class _Nothing:
    """Stands where Quart would gather a body, and guard that."""

    def __init__(self, *_: object) -> None:
        pass


class WholeRequest(TrioRequest):
    """A request whose body has come."""

    whole: bytes = b""
    body_class = _Nothing  # type: ignore[assignment] # see above
    lock_class = _Nothing  # type: ignore[assignment] # as above

    @property
    def content_length(self) -> int:
        """The size of the body: what came counts, not what was said."""
        return len(self.whole)


class Exchange(TrioASGIHTTPConnection):
    """A request and its response."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Have the request answered; Cancelled means that its client left or the server ends."""
        request = cast("WholeRequest", self._create_request_from_scope(send))
        message = cast("HTTPRequestEvent", await receive())
        request.whole = message["body"]
        await self._send_response(send, await self.app.handle_request(request))

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        """Send the body as one part, where Quart sends each, and an empty one behind them."""
        headers = encode_headers(response.headers)
        body = await _whole(response)
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def _whole(response: ResponseTypes) -> bytes:
    if not isinstance(response, Response):
        return response.get_data()
    body = response.response
    if isinstance(body, DataBody):  # as it was given, and nearly always
        return body.data[body.begin : body.end]
    return await response.get_data(as_text=False)
