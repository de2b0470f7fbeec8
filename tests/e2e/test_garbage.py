"""What Python's search for garbage looks through, in the real process."""

from pathlib import Path

from tests.harness import serving

JOBS = """
import gc
from service import Context, task

@task("look")
async def look(ctx: Context) -> dict[str, object]:
    return {"left out": gc.get_freeze_count(), "looked through": len(gc.get_objects())}
"""


def test_what_the_start_made_is_left_out(home: Path) -> None:
    """A look costs what requests and runs have made, not what libraries are made of."""
    with serving(home, JOBS) as service:
        run_id = service.post({"jobId": "look"}).headers["X-Run-Id"]
        found = service.run_until(run_id, "ok")["result"]
        assert isinstance(found, dict)
        counts = found["data"]
        assert isinstance(counts, dict)
        assert int(str(counts["left out"])) > 10 * int(str(counts["looked through"]))
        assert service.stop() == 0
