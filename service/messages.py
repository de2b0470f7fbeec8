"""What actors ask the store, and the door through which they ask.

Theory of operation: cancel at the door, never at the counter
--------------------------------------------------------------
A `Ticket` is a question on its way. While it waits, in the mailbox or parked for want of a due
run, its asker may still be cancelled: the ticket is withdrawn, and it never happened. From the
moment the store takes the ticket up, the asker waits for the verdict, whatever comes. So for an
asker there are three endings: `Cancelled` (it did not happen), a verdict (it did), and
`StoreUnavailable` (it may or may not stand: ask again with the same key).

The wait after that moment is bounded by the store, which answers every ticket it took: at the
latest when its patience with the disk ends, or when it dies. Answering never blocks and never
raises, so an asker that left cannot hurt the store.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto
from typing import Generic, Self, TypeVar

import attrs
import outcome
import trio

from service.core.errors import StoreUnavailable
from service.core.run import Run, Status, Trigger
