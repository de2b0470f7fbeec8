"""What a webhook's body must look like."""

import re
from itertools import islice
from typing import Final

import attrs

from service.core.wire import Json, NotJson, decode, encode_decoded

__all__ = ["ELEMENTS_MAX", "BadEnvelope", "Envelope", "parse_envelope"]

ELEMENTS_MAX: Final = 1_000_000
"""Commas and opening brackets of a body, which bound what Python makes of it: about 100 bytes each.

GitHub's largest events have some 25 MB and far fewer; without a bound, 25 MB of tiny arrays would
take forty times their size.
"""

_QUOTE: Final = ord('"')
_TEXTS_AND_ELEMENTS: Final = re.compile(
    rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[,[{]',  # a text without an end, too: no byte is read twice
    re.DOTALL,
)


class BadEnvelope(ValueError):
    """The body is not what the contract asks for; the message names the field."""


@attrs.frozen
class Envelope:
    """A request to run `job_id`; the payload both parsed and as the JSON text that is stored."""

    job_id: str
    payload: Json
    payload_json: str


def parse_envelope(body: bytes) -> Envelope:
    """Read ``{"jobId": "...", "payload": ...}``; a missing payload is null, other keys are ignored.

    Raises BadEnvelope with a message that names the field.
    """
    if not body:
        raise BadEnvelope('the body is empty; expected {"jobId": "...", "payload": ...}')
    _demand_few_elements(body)
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


def _demand_few_elements(body: bytes) -> None:
    if len(body) <= ELEMENTS_MAX or sum(map(body.count, (b",", b"[", b"{"))) <= ELEMENTS_MAX:
        return
    found = _TEXTS_AND_ELEMENTS.finditer(body)  # for texts may hold commas, too
    elements = (match for match in found if body[match.start()] != _QUOTE)
    if sum(1 for _ in islice(elements, ELEMENTS_MAX + 1)) > ELEMENTS_MAX:
        raise BadEnvelope(f"the body has more than {ELEMENTS_MAX:,} commas and opening brackets")


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
