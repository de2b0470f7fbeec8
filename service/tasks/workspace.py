"""What belongs to one attempt: a memory that outlives it, a way back to the queue, and bounds.

Theory of operation: how a run outlives its attempts
----------------------------------------------------
What a step returned is in the store before the step returns: the write is shielded, so a stop does
not lose work that is done. A later attempt reads what there is, once, when it comes to its first
step; the first claim of a run has nothing to read, and does not ask.

A pause that is longer than a runner should be held ends the attempt: its scope is cancelled, which
passes through whatever the task catches, and the run is due again when the pause is over. What else
the attempt is doing has a moment to finish, or to ask for an earlier end; what was not recorded by
then is done again.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NoReturn, Protocol

import attrs
import trio

from service.core.results import Permanent
from service.core.wire import NotJson, encode
from service.messages import Headway
from service.observability.logs import Logger, get_logger
from service.tasks.outbound import Outbound

__all__ = ["HOLD_SECONDS", "STEPS_MAX", "STEPS_MAX_BYTES", "STEP_MAX_BYTES", "Workspace"]

HOLD_SECONDS: Final = 5.0
"""The longest pause that keeps its runner; for a longer one the run goes back to the queue."""

LEAVE_SECONDS: Final = 1.0
"""What runs beside a long pause has so much time to finish before it is cancelled."""

STEP_MAX_BYTES: Final = 1_048_576
"""Largest result of a step, as JSON in UTF-8."""

STEPS_MAX: Final = 1_000
STEPS_MAX_BYTES: Final = 16 * STEP_MAX_BYTES
"""What the steps of a run may return together: every later attempt reads it."""

NOTE_MAX: Final = 500

HEADWAY_EVERY: Final = timedelta(seconds=10)
"""How often progress is logged; it can be asked for at any time."""


class Notebook(Protocol):
    """The memory of a run: what its steps returned, as JSON, by their names."""

    async def read(self) -> Mapping[str, str]:
        """Return what was written, by this attempt or by earlier ones."""
        ...

    async def write(self, name: str, result: str) -> None:
        """Return when it is kept; to its end also when cancelled."""
        ...


@attrs.frozen
class _Forgetful:
    """The notebook of a context that was made by hand."""

    async def read(self) -> Mapping[str, str]:
        await trio.lowlevel.checkpoint()
        return {}

    async def write(self, name: str, result: str) -> None:  # noqa: ARG002 - forgotten
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False, kw_only=True)
class Workspace:
    """The service's side of one attempt."""

    log: Logger = attrs.field(factory=partial(get_logger, "task"))
    notebook: Notebook = attrs.field(factory=_Forgetful)
    threads: trio.CapacityLimiter | None = None
    step_timeout_seconds: float = 30.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    scope: trio.CancelScope | None = None
    """Ends the attempt; set when it begins."""
    ended: bool = False
    """Whether the attempt is over, and who kept its context has come too late."""
    due_at: datetime | None = None
    """When the run is to go on, if it gave its runner back."""
    pauses: int = 0
    """Sleeps so far, which are named by their number."""
    waits: bool = False
    """Whether a server's wish to be left alone has put this attempt's run back."""
    programs: int = 0
    """How many programs the attempt is running."""
    outbound: Outbound = attrs.field(factory=Outbound)
    note_headway: Callable[[Headway], None] = lambda _: None
    """Lets an operator see how far the task is."""
    underway: list[str] = attrs.field(factory=list)
    """Steps that have begun and not ended, also those that the end of the attempt has cut off."""
    _wanted_at: datetime | None = attrs.field(default=None, init=False)
    _headway_logged_at: datetime | None = attrs.field(default=None, init=False)
    _names: set[str] = attrs.field(factory=set, init=False)
    _reading: trio.Lock | None = attrs.field(default=None, init=False)
    _records: dict[str, str] | None = attrs.field(default=None, init=False)

    def take_name(self, name: str) -> None:
        """Let a step have `name`.

        Raises Permanent when another had it, and when the attempt is over.
        """
        if self.ended:
            raise Permanent(f"step {name!r}: the attempt that this context belongs to has ended")
        if name in self._names:
            raise Permanent(
                f"step {name!r} was begun twice in one attempt; a name is what a step's result is "
                f'kept under, so in a loop make it tell the rounds apart: f"{name} {{item}}"'
            )
        self._names.add(name)

    def leave(self, step: str) -> None:
        """Say that a step has ended, unless it was the end of the attempt that cut it off."""
        if self.scope is None or not self.scope.cancel_called:
            self.underway.remove(step)

    async def records(self) -> Mapping[str, str]:
        """Return what is recorded, read once.

        Raises StoreUnavailable when the store cannot be read now.
        """
        if self._reading is None:
            self._reading = trio.Lock()
        async with self._reading:
            if self._records is None:
                self._records = dict(await self.notebook.read())
        return self._records

    async def record(self, name: str, value: object) -> str:
        """Keep a step's result, and return it as JSON. Raises Permanent if it cannot be kept."""
        try:
            result = encode(value)
        except NotJson as error:
            raise Permanent(f"the result of step {name!r} is not JSON: {error}") from error
        size = len(result.encode())
        if size > STEP_MAX_BYTES:
            raise Permanent(
                f"the result of step {name!r} is {size:,} bytes of JSON, more than "
                f"{STEP_MAX_BYTES:,}; return what later steps need, such as a place to find it"
            )
        records = self._records
        if records is None:  # pragma: no cover - a step reads before it writes
            raise AssertionError("a step wrote before it read")
        if name not in records and len(records) >= STEPS_MAX:
            raise Permanent(f"step {name!r} is one too many: a run has {STEPS_MAX:,} at most")
        if size + sum(map(len, records.values())) > STEPS_MAX_BYTES:
            raise Permanent(
                f"with step {name!r} the run's steps return more than {STEPS_MAX_BYTES:,} bytes"
            )
        await self.notebook.write(name, result)
        records[name] = result
        return result

    def tell_headway(self, done: float, total: float | None, note: str | None) -> None:
        """Let it be seen how far the task is, and log it now and then; from any thread."""
        now = self.now()
        shown = note and "".join(each if each.isprintable() else "�" for each in note[:NOTE_MAX])
        self.note_headway(Headway(done=done, total=total, note=shown, at=now))
        last = self._headway_logged_at
        if last is None or done == total or now - last >= HEADWAY_EVERY:
            self._headway_logged_at = now
            self.log.info("progress", done=done, total=total, note=note)

    async def pause(self, until: datetime) -> None:
        """Wait, in the runner if it is not long; else end the attempt, to go on at `until`."""
        seconds = (until - self.now()) / timedelta(seconds=1)
        if seconds > HOLD_SECONDS and self.scope is not None:
            await self.put_back(until)
        await trio.sleep(max(seconds, 0.0))

    async def put_back(self, until: datetime) -> NoReturn:
        """End the attempt by cancelling it; the run is due again at `until`."""
        if self.scope is None:
            raise Permanent("there is no attempt to put back")
        self._wanted_at = until if self._wanted_at is None else min(until, self._wanted_at)
        left = trio.current_effective_deadline() - trio.current_time()
        if left > LEAVE_SECONDS:  # or the time of a step would end before the attempt does
            await trio.sleep(LEAVE_SECONDS)
        self.due_at = self._wanted_at
        self.scope.cancel()
        await trio.lowlevel.checkpoint()
        raise Permanent("the attempt has ended: the run is put back")  # seen in a shield alone
