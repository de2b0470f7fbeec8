"""The errors that cross a border, each saying whose fault it is and what now."""

from collections.abc import Iterator


class ConfigError(Exception):
    """The owner's settings, tasks or schedules are wrong; the start is refused.

    The message is one line that names the place, what it held and what it may hold.
    """


class StoreRefused(Exception):
    """The database file cannot be ours (foreign, damaged, newer, locked); nothing was changed."""


class StoreOutdated(StoreRefused):
    """The database file is of an older schema; only the service, when it starts, upgrades it."""


class StoreUnavailable(Exception):
    """The store could not commit: the change may or may not stand.

    Asking again is safe, with the same delivery key or the same claim.
    """


class StoreEnded(StoreUnavailable):
    """The store is gone for good; asking again in this process is vain."""


class StoreBroken(Exception):
    """What is on disk can no longer be trusted (failed fsync, corruption); the process must end."""


class BackupFailed(Exception):
    """No backup was made; what stood under its name stands there still. The message says why."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that a group holds, however deep, or the one that is no group."""
    waiting = [error]  # not by recursion, which has an end
    while waiting:
        each = waiting.pop()
        if issubclass(type(each), BaseExceptionGroup):  # an object may lie of its class and members
            waiting += reversed(BaseExceptionGroup.exceptions.__get__(each))
        else:
            yield each
