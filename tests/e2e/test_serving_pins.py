"""The insides of hypercorn that the cures rely on are still as they were read.

A failure here means that a dependency changed under `service.serving`: read what changed, see that
each cure still has its fault (the other tests of serving help), and renew the digest.
"""

import hashlib
import inspect

import pytest
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio import task_group


@pytest.mark.parametrize(
    ("source", "digest"),
    [
        (inspect.getsource(H11Protocol), "b32a61e0a8ca2127"),
        (inspect.getsource(HTTPStream), "e0f656feb55ab89c"),
        (inspect.getsource(task_group), "debc4abd1b915575"),
    ],
    ids=["H11Protocol", "HTTPStream", "task_group"],
)
def test_what_was_read_is_what_runs(source: str, digest: str) -> None:
    """What the cures override, and what they expect around them, has not changed."""
    assert hashlib.sha256(source.encode()).hexdigest().startswith(digest)
