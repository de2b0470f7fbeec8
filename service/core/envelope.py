"""What a webhook's body must look like."""

import attrs

from service.core.wire import Json, NotJson, decode, encode_decoded

__all__ = ["BadEnvelope", "Envelope", "parse_envelope"]


class BadEnvelope(ValueError):
    """The body is not what the contract asks for; the message names the field."""


@attrs.frozen
class Envelope:
    """A request to run `job_id`; the payload both parsed and as the JSON text that is stored."""

    job_id: str
    payload: Json
    payload_json: str


def parse_envelope(body: bytes | str) -> Envelope:
    """Read ``{"jobId": "...", "payload": ...}``; a missing payload is null, other keys are ignored.

    Raises BadEnvelope with a message that names the field.
    """
    if not body:
        raise BadEnvelope('the body is empty; expected {"jobId": "...", "payload": ...}')
    try:
        envelope = decode(body)
    except NotJson as error:
        raise BadEnvelope(f"the body is not valid JSON: {error}") from None
    if not isinstance(envelope, dict):
        raise BadEnvelope(f"the body is not a JSON object but {_kind(envelope)}")
    if "jobId" not in envelope:
        raise BadEnvelope("jobId: missing")
    job_id, payload = envelope["jobId"], envelope.get("payload")
    if not isinstance(job_id, str):
        raise BadEnvelope(f"jobId: expected a string, got {_kind(job_id)}")
    if not job_id:
        raise BadEnvelope("jobId: empty")
    try:
        return Envelope(job_id, payload, encode_decoded(payload))
    except NotJson as error:
        raise BadEnvelope(f"payload: {error}") from None


def _kind(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
