"""Sheets of spans: each span arrives once, in order, within the bounds of the SDK's variables."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from service.observability.encoding import Encoder
from service.observability.recording import Record
from service.observability.sheets import SHEET_SPANS, Sheets, Told

RESOURCE = Resource({"service.name": "test"})
PLACE = SpanContext(7, 9, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class Exporter:
    """Writes as the real one does, and keeps what it is given to send."""

    def __init__(self, *, loaded: bool = True) -> None:
        self._encoder = Encoder(RESOURCE)
        self._loaded = loaded
        self.on_write: Callable[[], None] = lambda: None
        self.gate = Event()
        self.gate.set()
        self.given: list[Sequence[Told]] = []

    def write(self, spans: list[Told]) -> list[Told]:
        self.on_write()
        return self._encoder.write(spans) if self._loaded else spans

    def export(self, spans: Sequence[Told]) -> SpanExportResult:
        self.given.append(spans)
        assert self.gate.wait(60)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.gate.set()

    def batches(self) -> list[list[str]]:
        """Return the names of what was sent, batch by batch."""
        return [list(self._names(spans)) for spans in self.given]

    def names(self) -> list[str]:
        return [name for batch in self.batches() for name in batch]

    def _names(self, spans: Sequence[Told]) -> Iterator[str]:
        request = ExportTraceServiceRequest()
        request.ParseFromString(self._encoder.encode(spans))
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    yield span.name


@contextmanager
def sheets_of(exporter: Exporter) -> Iterator[Sheets]:
    sheets = Sheets(exporter)
    try:
        yield sheets
    finally:
        exporter.gate.set()
        sheets.shutdown()


def span(name: str, context: SpanContext = PLACE) -> Record:
    record = Record(name, context, None, SpanKind.INTERNAL, {}, lambda _: None)
    record.end()
    return record


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("count", [1, SHEET_SPANS - 1, SHEET_SPANS, 3 * SHEET_SPANS + 1])
def test_every_span_is_sent_once_and_in_order(*, count: int, loaded: bool) -> None:
    """On a sheet that is full and written, or on one that is taken as it is."""
    names = [str(number) for number in range(count)]
    exporter = Exporter(loaded=loaded)
    with sheets_of(exporter) as sheets:
        for name in names:
            sheets.on_end(span(name))
        sheets.force_flush()
        assert exporter.names() == names
        sheets.on_end(span("later"))
    assert exporter.names() == [*names, "later"]


def test_what_waits_is_bytes() -> None:
    """A full sheet is written where its last span ends, and waits in one piece."""
    exporter = Exporter()
    with sheets_of(exporter) as sheets:
        for _ in range(SHEET_SPANS):
            sheets.on_end(span("work"))
        sheets.force_flush()
    [[piece]] = exporter.given
    assert isinstance(piece, bytes)


def test_what_cannot_be_written_holds_up_no_other() -> None:
    """A span that is not plain, or a library's, goes beside the written ones."""
    exporter = Exporter()
    ornate = span("ornate")
    ornate.attributes["list"] = (1, 2)
    with sheets_of(exporter) as sheets:
        sheets.on_end(ornate)
        sheets.on_end(ReadableSpan("theirs", PLACE, resource=RESOURCE))
        for _ in range(SHEET_SPANS - 2):
            sheets.on_end(span("plain"))
        sheets.force_flush()
    assert sorted(exporter.names()) == sorted(["ornate", "theirs", *["plain"] * (SHEET_SPANS - 2)])
    assert isinstance(exporter.given[0][0], bytes)


def test_what_is_no_unicode_is_left_to_the_sender() -> None:
    """Such a span is refused when it is sent; where it ends, nothing is raised."""
    encoder = Encoder(RESOURCE)
    odd = span("\ud800")
    [piece, left] = encoder.write([span("a"), odd, span("b")])
    assert isinstance(piece, bytes)
    assert left is odd
    with pytest.raises(ValueError, match="surrogates"):
        encoder.encode([piece, left])


def test_the_variables_bound_spans_not_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has as many spans as they allow at most, and of those that wait the oldest go."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "80")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "40")
    exporter = Exporter()
    exporter.gate.clear()
    with sheets_of(exporter) as sheets:
        for number in range(400):
            sheets.on_end(span(str(number)))
    assert all(len(batch) <= 40 for batch in exporter.batches())
    assert exporter.names()[-80:] == [str(number) for number in range(320, 400)]
    assert len(exporter.names()) <= 120  # a batch may have been on its way


@pytest.mark.parametrize(
    ("queue", "batch"), [("70", "71"), ("10", "20"), ("0", "1"), ("20", "0"), ("5", "-1")]
)
def test_bounds_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, queue: str, batch: str
) -> None:
    """As the SDK refuses them, in its words."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", queue)
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch)
    with pytest.raises(ValueError, match="max_"):
        Sheets(Exporter())


def test_a_span_may_end_within(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer may end one while a sheet is written: each is sent once."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    exporter = Exporter()
    with sheets_of(exporter) as sheets:
        exporter.on_write = lambda: sheets.on_end(span("within"))
        for _ in range(SHEET_SPANS):
            sheets.on_end(span("work"))
        sheets.force_flush()
    assert exporter.names() == [*["work"] * SHEET_SPANS, "within"]


def test_nobody_whose_span_ends_waits_for_others() -> None:
    """While another thread writes a sheet, as long as that takes, a span ends all the same."""
    exporter = Exporter()
    writing, written = Event(), Event()

    def write_at_leisure() -> None:
        writing.set()
        assert written.wait(60)

    exporter.on_write = write_at_leisure
    with sheets_of(exporter) as sheets:

        def fill() -> None:
            for _ in range(SHEET_SPANS):
                sheets.on_end(span("work"))

        other = Thread(target=fill)
        other.start()
        assert writing.wait(60)
        sheets.on_end(span("meanwhile"))
        written.set()
        other.join()
    assert exporter.names() == [*["work"] * SHEET_SPANS, "meanwhile"]


@pytest.mark.parametrize("batch", ["16", "64", "127"])
def test_a_small_batch_is_waited_for(monkeypatch: pytest.MonkeyPatch, batch: str) -> None:
    """What does not make a batch is not sent before its time."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch)
    exporter = Exporter()
    with sheets_of(exporter) as sheets:
        for number in range(10):
            sheets.on_end(span(str(number)))
            let_others_run()
    assert exporter.batches() == [[str(number) for number in range(10)]]


def let_others_run() -> None:
    """Give the interpreter away, as each thread does that begins and ends."""
    for _ in range(20):
        thread = Thread(target=sum, args=((),))
        thread.start()
        thread.join()


class Meanwhile:
    """A lock; something happens as soon as someone who waited for it has it."""

    def __init__(self, happen: Callable[[], None]) -> None:
        self._lock = Lock()
        self._happen = happen
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> None:
        self._lock.acquire()
        self._happen()

    def __exit__(self, *_error: object) -> None:
        self._lock.release()


def test_what_ends_while_a_sheet_is_taken_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be put on a sheet then, and does not wait for the next span either."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    exporter = Exporter()
    names = ["meanwhile"]
    with sheets_of(exporter) as sheets:

        def end_one() -> None:
            while names:
                sheets.on_end(span(names.pop()))

        monkeypatch.setattr(sheets, "_lock", Meanwhile(end_one))
        sheets.on_end(span("first"))
        sheets.force_flush()
    assert sorted(exporter.names()) == ["first", "meanwhile"]


def test_what_is_not_sampled_is_not_sent() -> None:
    """A span of a trace that is not kept ends unheard, also beside others."""
    exporter = Exporter()
    with sheets_of(exporter) as sheets:
        for name in ("first", "last"):
            sheets.on_end(span("unsampled", SpanContext(7, 9, is_remote=False)))
            sheets.on_end(span(name))
    assert exporter.names() == ["first", "last"]


def test_threads_share_sheets() -> None:
    """Spans that end in many threads, while others are sent, are all sent once."""
    exporter = Exporter()
    names = [[f"{thread}.{number}" for number in range(500)] for thread in range(4)]
    with sheets_of(exporter) as sheets:

        def end(own: list[str]) -> None:
            for name in own:
                sheets.on_end(span(name))
                if name.endswith("7"):
                    sheets.force_flush()

        threads = [Thread(target=end, args=(own,)) for own in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(exporter.names()) == sorted(name for own in names for name in own)
