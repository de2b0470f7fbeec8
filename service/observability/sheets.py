"""Spans on their way to a collector, sheet by sheet.

Theory of operation
-------------------
A span that waits for its batch as it was told, to be written by the thread that sends, costs the
event loop more than writing it would: the loop gives away memory that it has at hand, gets other
memory from afar, and waits for a thread that does the same. So spans are gathered on a sheet, and
whoever puts the last one on it writes all of them in a row. What waits is bytes.

A sheet is queued with its first span, for no span is to wait for others; the thread that sends
takes it as it is. The queue, its bounds and its thread are the SDK's, which counts sheets.

A span may end in any thread and, because a finalizer may end one, within whatever a thread does,
while it holds the lock here or that of the log. So nobody whose span ends waits for the lock: who
has it looks once more for what has ended meanwhile, after giving it back.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, Protocol, TypeAlias, cast

import attrs
from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import export as trace_export
from opentelemetry.trace import SpanContext, TraceFlags

from service.observability.recording import Record

__all__ = ["Exporter", "Sheets", "Told"]

Told: TypeAlias = "bytes | Record | ReadableSpan"
"""A span as it was told, or some that are written."""

SHEET_SPANS: Final = 128
SHEETS_IN_A_BATCH: Final = 8
"""At least: the SDK sends as soon as a batch of sheets is queued, of which one has only begun."""

BATCH_SPANS: Final = 2048
QUEUE_SPANS: Final = 8192
"""Four times OpenTelemetry's defaults: at thousands of spans a second their queue is full after a
third of one. Written, so many take a few MB."""


class Exporter(Protocol):
    """What writes spans, and sends them."""

    def write(self, spans: list[Told]) -> list[Told]:
        """Write what can be written already."""

    def export(self, spans: Sequence[Told]) -> trace_export.SpanExportResult:
        """Send a batch."""

    def shutdown(self) -> None:
        """Give up what is being sent."""


@attrs.define(eq=False)
class _Sheet:
    """Some spans; by `context`, the first one's, the SDK sees that they are sampled."""

    context: SpanContext | None
    spans: list[Told] = attrs.field(factory=list)


class Sheets(SpanProcessor):
    """Takes spans that have ended to `exporter`, in batches that the OTEL_BSP_* variables bound.

    Raises ValueError for bounds that contradict each other.
    """

    def __init__(self, exporter: Exporter) -> None:
        queue, batch = _bounds()
        self._exporter = exporter
        self._sheet_spans = max(min(SHEET_SPANS, batch // SHEETS_IN_A_BATCH), 1)
        self._lock = Lock()
        self._ended: deque[Record | ReadableSpan] = deque()
        self._open: _Sheet | None = None
        self._batches = trace_export.BatchSpanProcessor(
            cast("trace_export.SpanExporter", _Sender(exporter, self._take)),
            queue // self._sheet_spans,
            max_export_batch_size=batch // self._sheet_spans,
        )

    def on_end(self, span: Record | ReadableSpan) -> None:
        """Put a span on a sheet, if it is sampled."""
        if span.context is not None and span.context.trace_flags & TraceFlags.SAMPLED:
            self._ended.append(span)
            self._gather()

    def _gather(self) -> None:
        """Put what has ended on sheets, unless another thread has the lock, which then does so."""
        while self._ended and self._lock.acquire(blocking=False):
            try:
                while self._ended:
                    self._put(self._ended.popleft())
            finally:
                self._lock.release()

    def _put(self, span: Record | ReadableSpan) -> None:
        sheet = self._open
        if sheet is None:
            sheet = self._open = _Sheet(span.context)
            self._batches.on_end(cast("ReadableSpan", sheet))  # which looks at its context only
        sheet.spans.append(span)
        if len(sheet.spans) >= self._sheet_spans:
            self._open = None
            sheet.spans = self._exporter.write(sheet.spans)

    def shutdown(self) -> None:
        """Send the rest, in 30 s."""
        self._batches.shutdown()  # type: ignore[no-untyped-call] # the library's

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Send what has ended so far."""
        return self._batches.force_flush(timeout_millis)

    def _take(self, sheet: _Sheet) -> list[Told]:
        with self._lock:
            if sheet is self._open:
                self._open = None
            spans = sheet.spans
        self._gather()
        return spans


@attrs.frozen
class _Sender:
    """Sends the spans of sheets, which the SDK takes for spans."""

    _exporter: Exporter
    _take: Callable[[_Sheet], list[Told]]

    def export(self, sheets: Sequence[_Sheet]) -> trace_export.SpanExportResult:
        return self._exporter.export([span for sheet in sheets for span in self._take(sheet)])

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _bounds() -> tuple[int, int]:
    """Return how many spans may wait, and how many are sent at once."""
    if os.environ.keys().isdisjoint((OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE)):
        return QUEUE_SPANS, BATCH_SPANS
    sdk = trace_export.BatchSpanProcessor  # which also logs what is wrong with the variables
    queue: int = sdk._default_max_queue_size()  # type: ignore[no-untyped-call] # noqa: SLF001
    batch: int = sdk._default_max_export_batch_size()  # type: ignore[no-untyped-call] # noqa: SLF001
    sdk._validate_arguments(queue, 1, batch)  # type: ignore[no-untyped-call] # noqa: SLF001
    return queue, batch
