"""`@task` puts a function under an id; what cannot work is refused where it is written."""

import inspect
from collections.abc import Callable, Iterator
from typing import Final, Never, TypeVar, cast

import attrs

from service.core.errors import ConfigError
from service.core.limits import Limits, Rate
from service.tasks.context import Context
from service.tasks.signature import read_signature
from service.tasks.task import RETRIES, Task, TaskFunction

__all__ = ["REGISTRY", "Registry", "Task", "task"]

F = TypeVar("F", bound=Callable[[Context], object] | Callable[[Context, Never], object])


@attrs.frozen
class Registry:
    """The tasks that were registered, by id."""

    _tasks: dict[str, Task] = attrs.field(factory=dict, init=False)

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def task(  # noqa: PLR0913 - the options of a task
        self,
        id: str,  # noqa: A002 - what it is called everywhere else
        *,
        timeout: float | None = None,
        retries: int = RETRIES,
        retry_base_seconds: float | None = None,
        retry_max_seconds: float | None = None,
        max_concurrency: int | None = None,
        priority: int = 0,
        rate: str | None = None,
    ) -> Callable[[F], F]:
        """Register the function below under `id`; the function itself stays as it is.

        An attempt may take `timeout` seconds. When it fails, up to `retries` further attempts
        follow, the first after `retry_base_seconds`, each after about twice the wait before, none
        after more than `retry_max_seconds`. What is not given is the service's setting.

        At most `max_concurrency` runs are running at once, and at most so many attempts begin as
        `rate` allows ("30/minute": within any 60 seconds); more wait in the store, in order, and
        hold no runner. Due runs of tasks of a higher `priority` begin first; among equals, the
        task that has the fewest runs running.

        Raises ConfigError, which names the place, for an option or a function that cannot work.
        """
        if not isinstance(id, str):
            raise ConfigError(f'{_place(id)}: a task needs an id: write @task("{_name(id)}")')

        def register(function: F) -> F:
            place = _place(function)
            try:
                signature = read_signature(function)
                new = Task(
                    id=id,
                    # read_signature has seen that it takes what it will be called with
                    function=cast("TaskFunction", function),
                    place=place,
                    is_async=signature.is_async,
                    takes_payload=signature.takes_payload,
                    payload_type=signature.payload_type,
                    timeout=timeout,
                    retries=retries,
                    retry_base_seconds=retry_base_seconds,
                    retry_max_seconds=retry_max_seconds,
                    limits=Limits(
                        max_concurrency=max_concurrency,
                        priority=priority,
                        rate=None if rate is None else Rate.parse(rate),
                    ),
                )
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{place}: task {id!r}: {error}") from None
            old = self._tasks.setdefault(id, new)
            if old.place != place:  # the same place twice is a module that was imported anew
                raise ConfigError(f"{place}: task {id!r} is already registered at {old.place}")
            self._tasks[id] = new
            return function

        return register


REGISTRY: Final = Registry()
task: Final = REGISTRY.task


def _place(written: object) -> str:
    code = getattr(inspect.unwrap(written), "__code__", None) if callable(written) else None
    return "@task" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def _name(written: object) -> str:
    return getattr(written, "__name__", "greet")
