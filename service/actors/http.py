"""The HTTP actor: the contract of the two public paths, row by row."""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias, cast

import attrs
import trio
from quart import Request, Response
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from service.core.envelope import BadEnvelope, Envelope, parse_envelope
from service.core.errors import StoreUnavailable
from service.core.ids import run_id
from service.core.run import Trigger
from service.core.wire import Json, encode
from service.door import Door
from service.messages import (
    Accepted,
    Delivery,
    Enqueue,
    Probe,
)
from service.observability.asgi import Watched
from service.observability.logs import get_logger
from service.observability.loop import LoopWatch
from service.observability.metrics import delivery_repeated
from service.observability.traces import enqueue_span
from service.pulse import Pulse
from service.serving import WholeRequest
from service.settings import Settings
from service.tasks.loading import Workload
from service.tasks.payloads import PayloadError, structure
from service.tasks.task import Task

__all__ = ["Web", "make_app"]

RETRY_AFTER_SECONDS: Final = 5
"""What a caller is told when the store cannot commit."""

PULSE_SECONDS: Final = 90.0
"""The cron loop beats every half minute; three beats missed are a fault."""

DELIVERY_ID_MAX: Final = 256

View: TypeAlias = "Callable[[WholeRequest], Awaitable[Response]]"

log = get_logger("service.http")


class Refused(Exception):
    """The request is answered with an error of the contract."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


@attrs.frozen(kw_only=True)
class Web:
    """What the routes need to do their work."""

    door: Door
    workload: Workload
    settings: Settings
    pulse: Pulse
    loop: LoopWatch
    started: trio.Event
    stopping: trio.Event
    now: Callable[[], datetime]

    async def accept(self, request: WholeRequest) -> Response:
        """Answer ``POST /webhook``: 202 once the run is on disk."""
        self._demand_secret(request.headers.get("Authorization"))
        envelope = _envelope(request.whole)
        task = self._task(envelope)
        accepted = await self._enqueue(task, envelope, self._delivery(request.headers))
        headers = {"X-Run-Id": accepted.run_id}
        if accepted.replayed:
            headers["Idempotent-Replayed"] = "true"
        return _answer(202, {"status": "accepted", "jobId": accepted.job_id}, headers)

    def _demand_secret(self, given: str | None) -> None:
        """Refuse a stranger; compared as bytes and in constant time."""
        if self.settings.webhook_secret is None:
            return
        scheme, _, token = (given or "").partition(" ")
        secret = self.settings.webhook_secret.reveal().encode()
        known = hmac.compare_digest(token.strip(" \t").encode("latin-1", "replace"), secret)
        if scheme.lower() != "bearer" or not known:
            raise Refused(401, "unauthorized", {"WWW-Authenticate": "Bearer"})

    def _task(self, envelope: Envelope) -> Task:
        task = self.workload.tasks.get(envelope.job_id)
        if task is None:
            raise Refused(500, f"jobId: no task {envelope.job_id[:128]!r} is registered")
        try:
            structure(task, envelope.payload)
        except PayloadError as error:
            raise Refused(400, str(error)) from None
        return task

    def _delivery(self, headers: Headers) -> Delivery | None:
        """Return what tells this delivery from others; GitHub's header goes first."""
        window = timedelta(hours=self.settings.dedupe_window_hours)
        for header, kind in (("X-GitHub-Delivery", "github"), ("Idempotency-Key", "key")):
            given = headers.get(header)
            if given is None:
                continue
            if not given or len(given) > DELIVERY_ID_MAX:
                raise Refused(400, f"{header}: expected 1 to {DELIVERY_ID_MAX} characters")
            return Delivery(key=f"{kind}:{given}", id=given, window=window)
        return None

    async def _enqueue(self, task: Task, envelope: Envelope, delivery: Delivery | None) -> Accepted:
        new_id = run_id(self.now(), secrets.token_bytes(10))
        with enqueue_span(task.id, new_id, Trigger.WEBHOOK) as span:
            question = Enqueue(
                run_id=new_id,
                job_id=task.id,
                trigger=Trigger.WEBHOOK,
                payload=envelope.payload_json,
                max_attempts=task.retries + 1,
                delivery=delivery,
                trace_context=span.context(),
            )
            try:
                accepted = await self.door.ask(question)
            except StoreUnavailable as error:
                raise _unavailable(error) from error
            if accepted.replayed:
                span.note("run.id", accepted.run_id)
                delivery_repeated()
        return accepted

    async def health(self, request: WholeRequest) -> Response:
        """Tell whether the service can do its work, or with ``?live`` only whether it is alive."""
        if "live" not in request.args:
            await self._demand_health()
        return _answer(200, {"status": "ok"})

    async def _demand_health(self) -> None:
        if self.stopping.is_set():
            raise Refused(503, "the service is stopping")
        held = self.loop.held_lately()
        if held is not None:
            raise Refused(503, f"the event loop was held for {held.seconds:.1f} s by {held.task}")
        try:
            await self.door.ask(Probe())
        except StoreUnavailable as error:
            raise _unavailable(error) from error
        if not self.started.is_set():
            raise Refused(503, "the service is starting")
        if self.pulse.age_seconds() > PULSE_SECONDS:
            raise Refused(503, f"the cron loop has not moved for {self.pulse.age_seconds():.0f} s")


class Site(QuartTrio):
    """Quart-trio for views that take their request and return a response, and need no more.

    Sessions, hooks, signals and the contexts behind them, which Quart sets up for every request,
    cost more than the rest of it; nobody here uses them.
    """

    def __init__(self, views: Mapping[str, Mapping[str, View]]) -> None:
        super().__init__("service", static_folder=None)
        self._views = views

    async def handle_request(self, request: Request) -> Response:
        """Have the request answered by its view, and what is refused in our shape."""
        try:
            path = request.scope["path"]  # `request.path` has lost slashes at its beginning
            return await self._view(path, request.method)(cast("WholeRequest", request))
        except Refused as refusal:
            return _error(refusal.status, refusal.message, refusal.headers)
        except HTTPException as error:  # what Quart refuses
            return _error(error.code or 500, error.name.lower())

    def _view(self, path: str, method: str) -> View:
        views = self._views.get(path)
        if views is None:
            raise Refused(404, "not found")
        if method not in views:
            raise Refused(405, "method not allowed", {"Allow": ", ".join(views)})
        return views[method]


def make_app(web: Web) -> QuartTrio:
    """Return the app: two routes, and JSON for whatever goes wrong."""
    app = Site(
        {"/webhook": {"POST": web.accept}, "/_health": {"GET": web.health, "HEAD": web.health}}
    )
    app.asgi_app = Watched(  # type: ignore[method-assign] # the way to wrap that Quart documents
        app.asgi_app, routes=frozenset({"/webhook"}), silent=frozenset({"/_health"})
    )
    return app


def _envelope(body: bytes) -> Envelope:
    try:
        return parse_envelope(body)
    except BadEnvelope as error:
        raise Refused(400, str(error)) from None


def _unavailable(error: StoreUnavailable) -> Refused:
    return Refused(
        503, f"the store cannot commit: {error}", {"Retry-After": str(RETRY_AFTER_SECONDS)}
    )


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return _answer(status, {"status": "error", "message": message}, headers)


def _answer(
    status: int, body: dict[str, Json], headers: Mapping[str, str] | None = None
) -> Response:
    return Response(encode(body), status, {"Content-Type": "application/json", **(headers or {})})
