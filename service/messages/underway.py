"""What is asked about a run while an attempt is under way: steps, pauses, headway."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from service.messages.operator import Order
from service.messages.question import Question


@attrs.frozen
class RecordStep(Question[bool]):
    """Keep what a step returned, as JSON, with its run. True if this claim holds the run."""

    run_id: str
    claim: int
    name: str
    result: str


@attrs.frozen
class ReadSteps(Question[Mapping[str, str]]):
    """Read what earlier attempts recorded: JSON by the name of the step."""

    run_id: str


@attrs.frozen
class Suspend(Question[bool]):
    """Put a running run back until `due_at`, at its own wish, and give its attempt back."""

    run_id: str
    claim: int
    due_at: datetime


@attrs.frozen(kw_only=True)
class Headway:
    """How far an attempt says that it is."""

    done: float
    total: float | None
    note: str | None
    at: datetime


@attrs.frozen
class ReadHeadway(Order["Headway | None"]):
    """Read how far a run is; None if nobody works on it now, or its task does not say."""

    run_id: str
