"""The one entry to all questions: each is registered here by the function that answers it."""

import sqlite3
from datetime import datetime
from functools import singledispatch

from service.messages import Question


@singledispatch
def answer(question: Question[object], _db: sqlite3.Connection, _now: datetime) -> object:
    """Answer a question within the open transaction; `now` is the instant of the whole group."""
    raise TypeError(f"nobody answers {type(question).__name__}")
