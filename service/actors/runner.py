"""The runner actor: takes one run at a time, performs its task, and tells the store how it ended.

Theory of operation: whatever happens, the store is told
---------------------------------------------------------
Between the claim and the last word the store believes that the run is running, and only this
runner can say otherwise. So the last word is said in a `finally`, shielded: how the attempt ended,
or, when it was interrupted, that the run goes back with its attempt given back. A store that
cannot commit is asked again until it can, holding the result meanwhile; only the end of the
service cuts that short, and then the next start finds an orphan and runs it again.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import attrs
import stamina
import trio

from service.core.backoff import delay_seconds
from service.core.errors import StoreUnavailable
from service.core.results import Result
from service.core.run import Done, Failure, Run, Status, after_attempt
from service.core.wire import decode, encode
from service.messages import Claim, Door, Finish, Question, Release, Retry
from service.observability.logs import get_logger
from service.settings import Settings
from service.tasks.context import Context
from service.tasks.execution import attempt
from service.tasks.registry import Task

__all__ = ["Hiring", "Runner"]

THREADS_PER_RUNNER: Final = 4
"""Threads beyond one a runner are for those whose task timed out and whose code goes on."""

log = get_logger("service.runner")
