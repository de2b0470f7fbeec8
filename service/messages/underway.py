"""What is asked about a run while an attempt is under way: what its steps returned, its pauses."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from service.messages.door import Question


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
