"""The real service, killed in the middle of its requests, repeats none that was answered."""

from collections import Counter
from pathlib import Path

from service.core.wire import Json
from tests.examples.fake_github import FakeGitHub, fake_github, limited_for
from tests.examples.test_examples import RELEASE, SUMMARY
from tests.harness import Service, serving

JOBS = """
import tests.examples.release_check
import tests.examples.repo_summary
"""
REQUESTS = 3


def perform(service: Service, job_id: str, payload: Json) -> dict[str, Json]:
    run_id = service.post({"jobId": job_id, "payload": payload}).headers["X-Run-Id"]
    return service.run_until(run_id, "ok", "error")


def test_a_kill_at_every_request_repeats_only_that_one(home: Path) -> None:
    """Each request in turn is met by kill -9: those before it were answered, and stay so."""
    with fake_github() as github:
        for fatal in range(1, REQUESTS + 1):
            with serving(home, JOBS, GITHUB_API=github.url) as service:
                victim = service

                def kill(_github: FakeGitHub, _path: str, number: int) -> None:
                    if number == fatal:  # noqa: B023 - called within the round
                        victim.kill()  # noqa: B023 - as above

                github.trouble = kill
                posted = service.post({"jobId": "repo-summary", "payload": {"repos": ["a/b"]}})
                run_id = posted.headers["X-Run-Id"]
                service.wait()
            with serving(home, JOBS, GITHUB_API=github.url) as service:
                run = service.run_until(run_id, "ok", "error")
            assert run["result"] == {"status": "ok", "data": SUMMARY}
            assert (run["attempt"], run["crashes"]) == (1, 1)
            assert sorted(github.asked.values()) == [1] * (REQUESTS - 1) + [2]
            assert list(github.asked.values())[fatal - 1] == 2
            github.asked.clear()


def test_limits_and_failures_are_lived_with(home: Path) -> None:
    """A used-up limit, bad gateways and hung-up connections end in a summary all the same."""
    seen: Counter[str] = Counter()

    def moody(_github: FakeGitHub, path: str, _number: int) -> tuple[int, dict[str, str]] | None:
        seen[path] += 1
        if seen.total() == 1:
            return 403, limited_for(2)
        troubles: list[tuple[int, dict[str, str]]] = [(502, {}), (0, {})]
        return troubles[seen[path] - 1] if seen[path] <= len(troubles) else None

    with fake_github(moody) as github, serving(home, JOBS, GITHUB_API=github.url) as service:
        run = perform(service, "repo-summary", {"repos": ["a/b"]})
        assert run["result"] == {"status": "ok", "data": SUMMARY}
        check = perform(service, "release-check", RELEASE)
        assert check["result"] == {"status": "ok", "message": "a/b 2.0 is complete"}
        assert len(service.logged("step done")) == 7
    assert set(github.answered.values()) == {1}
