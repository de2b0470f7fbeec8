"""What a collector did not take of a request that it answered with success (OTLP, partial success).

Traces and metrics are answered by messages of the same shape: how many spans or points were
rejected, and why. With none rejected, the words are a warning.
"""

import attrs

__all__ = ["Partial", "partial_success"]

WHOLE = (b"", b"\n\x00")
"""How collectors say that they took everything: the message left out, or empty."""


@attrs.frozen
class Partial:
    """How much of a request was `rejected`, and what the collector says about it."""

    rejected: int = 0
    message: str = ""


def partial_success(answer: bytes) -> Partial:
    """Read the body of an answer; what is no OTLP, or cut off, says nothing."""
    if answer in WHOLE:
        return Partial()
    from google.protobuf.message import (  # type: ignore[import-untyped] # noqa: PLC0415 - slow to load
        DecodeError,
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - as above
        ExportTraceServiceResponse,
    )

    try:
        said = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return Partial()
    return Partial(said.rejected_spans, said.error_message)
