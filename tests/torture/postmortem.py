"""What a store holds when its service is dead: read from a copy, so that the log stays hot."""

import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, Self

import attrs

from service.core.run import Status

ENDED: Final = frozenset({Status.OK, Status.ERROR, Status.CANCELLED})


@attrs.frozen
class Row:
    """A run as its row tells it."""

    id: str
    job_id: str
    status: str
    result: str | None
    finished_at: int | None
    delivery_id: str | None
    crashes: int

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@attrs.frozen
class PostMortem:
    """The runs by id, and what is wrong with the store as such: nothing, one hopes."""

    runs: Mapping[str, Row]
    faults: tuple[str, ...]

    @classmethod
    def of(cls, store: Path) -> Self:
        """Read a copy of the store and of the log that lies beside it."""
        with tempfile.TemporaryDirectory(prefix="svc-pm-", dir="/tmp") as folder:
            for suffix in ("", "-wal"):
                part = store.with_name(store.name + suffix)
                if part.exists():
                    shutil.copy(part, folder)
            with closing(sqlite3.connect(Path(folder) / store.name)) as db:
                return cls(_runs(db), tuple(_faults(db)))


def _runs(db: sqlite3.Connection) -> dict[str, Row]:
    rows = db.execute(
        "SELECT id, job_id, status, result, finished_at, delivery_id, crashes FROM runs"
    )
    return {row[0]: Row(*row) for row in rows}


def _faults(db: sqlite3.Connection) -> list[str]:
    (integrity,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    faults = [] if integrity == "ok" else [f"integrity_check: {integrity}"]
    for (fault,) in db.execute(
        """
        SELECT 'no payload of ' || id FROM runs WHERE seq NOT IN (SELECT seq FROM payloads)
        UNION ALL
        SELECT 'two runs of delivery ' || delivery_id FROM runs
        WHERE delivery_id IS NOT NULL GROUP BY delivery_id HAVING count(*) > 1
        UNION ALL
        SELECT 'two runs of tick ' || tick || ' of ' || cron_id FROM runs
        WHERE cron_id IS NOT NULL GROUP BY cron_id, tick HAVING count(*) > 1
        UNION ALL
        SELECT 'two records of tick ' || one.first || ' of ' || one.cron_id
        FROM ticks AS one JOIN ticks AS other ON one.cron_id = other.cron_id
        AND one.first < other.first AND other.first <= one.last
        UNION ALL
        SELECT 'ran without a run: tick ' || first || ' of ' || cron_id FROM ticks
        WHERE outcome = 'ran' AND run_id NOT IN (SELECT id FROM runs)
        UNION ALL
        SELECT 'seconds of ' || id || ' that are not accounted for' FROM cron_jobs
        WHERE schedule = '* * * * * *' AND watermark / 1000000 - since / 1000000 <> (
            SELECT ifnull(sum(count), 0) FROM ticks WHERE cron_id = id AND first > since
        )
        """
    ):
        faults.append(fault)
    return faults
