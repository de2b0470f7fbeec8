"""The memory of a run, kept in the store."""

from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from service.core.results import Permanent
from service.core.run import Run
from service.door import Door
from service.messages import Question, ReadSteps, RecordStep

__all__ = ["StoredNotebook"]


@attrs.frozen
class StoredNotebook:
    """What the steps of one run returned; `tell` says it to the store as often as it takes."""

    _run: Run
    _door: Door
    _tell: Callable[[Run, Question[bool]], Awaitable[bool | None]]

    async def read(self) -> Mapping[str, str]:
        """Return what earlier attempts wrote; the first claim of a run had none before it."""
        if self._run.claim == 1:
            await trio.lowlevel.checkpoint()
            return {}
        return await self._door.ask(ReadSteps(self._run.id))

    async def write(self, name: str, result: str) -> None:
        """Return when it is on disk. Raises Permanent if the run was taken from this runner."""
        if not await self._tell(self._run, RecordStep(self._run.id, self._run.claim, name, result)):
            raise Permanent("the run was taken from its runner")
