"""The examples, as their owner would test them: on a virtual clock, with a fake of GitHub."""

from datetime import timedelta

import httpx
import pytest

from service import error, ok
from service.core.run import Trigger
from service.core.wire import Json
from service.testing import START, FakeHttp, in_turn, reply, run_task
from tests.examples.fake_github import ANSWERS
from tests.examples.release_check import release_check
from tests.examples.repo_summary import repo_summary

API = "GET https://api.github.com"
STEPS = ["since", "merged in a/b", "released of a/b", "discussed in a/b"]
SUMMARY: Json = {"a/b": {"merged": ["Sleep well"], "released": ["2.0"], "discussed": ["Too loud"]}}
RELEASE: Json = {"repo": "a/b", "tag": "2.0", "files": ["b.tar.gz"]}


def github(**answers: object) -> FakeHttp:
    """Return a GitHub that answers as the fake, but for what is given by the end of its path."""
    known: dict[str, object] = {f"{API}{path}": answer for path, answer in ANSWERS.items()}
    for end, answer in answers.items():
        [key] = [key for key in known if key.endswith(f"/{end.replace('_', '-')}")]
        known[key] = answer
    return FakeHttp(known)


def test_the_summary_tells_what_happened_in_a_week() -> None:
    """Old and unmerged things are left out; the week ends at the cron job's tick."""
    fake = github()
    run = run_task(repo_summary, {"repos": ["a/b"]}, http=fake, trigger=Trigger.CRON)
    assert run.result == ok(SUMMARY)
    assert run.steps["since"] == (START - timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(fake.requests) == 3


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_between_steps_repeats_no_request(step: str) -> None:
    """Wherever the service dies, GitHub is asked each question once."""
    fake = github()
    run = run_task(repo_summary, {"repos": ["a/b"]}, http=fake, crash_after=[step])
    assert run.result == ok(SUMMARY)
    assert len(fake.requests) == len({request.url for request in fake.requests}) == 3


def test_a_limit_of_an_hour_is_waited_for() -> None:
    """The run goes on when GitHub allows it, and asks nothing twice that was answered."""
    limit = {
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int((START + timedelta(minutes=50)).timestamp())),
    }
    fake = github(releases=in_turn(reply(403, headers=limit), ANSWERS["/repos/a/b/releases"]))
    run = run_task(repo_summary, {"repos": ["a/b"]}, http=fake, trigger=Trigger.CRON)
    assert run.result == ok(SUMMARY)
    assert (run.attempts, len(fake.requests)) == (1, 4)
    assert 3000 <= run.seconds <= 3400


def test_a_github_in_trouble_is_asked_again() -> None:
    """Errors that pass are met by patience, in the attempt or after it."""
    down = [httpx.ConnectError("refused"), *[reply(502)] * 5]
    fake = github(issues=in_turn(*down, ANSWERS["/repos/a/b/issues"]))
    run = run_task(repo_summary, {"repos": ["a/b"]}, http=fake)
    assert run.result == ok(SUMMARY)
    assert (run.attempts, len(fake.requests)) == (2, 2 + 7)


def test_a_complete_release_is_ok() -> None:
    """Notes, files, checks and a changelog make a release."""
    run = run_task(release_check, RELEASE, http=github())
    assert run.result == ok(message="a/b 2.0 is complete")


def test_an_incomplete_release_lists_what_it_lacks() -> None:
    """Problems are a verdict: it is not retried."""
    checks = {"check_runs": [{"name": "tests", "conclusion": "failure"}]}
    page: Json = {"body": None, "assets": []}
    known = {f"{API}{path}": answer for path, answer in ANSWERS.items()}
    fake = FakeHttp(
        {
            **known,
            f"{API}/repos/a/b/releases/tags/2.0": page,
            f"{API}/repos/a/b/commits/2.0/check-runs": checks,
            f"{API}/repos/a/b/contents/CHANGELOG.md": reply(404),
        }
    )
    run = run_task(release_check, RELEASE, http=fake)
    assert run.result == error(
        "a/b 2.0 is not complete",
        [
            "b.tar.gz is missing",
            "check tests has not succeeded",
            "it has no notes",
            "there is no CHANGELOG.md",
        ],
    )
    assert run.attempts == 1


def test_only_the_unanswered_question_is_asked_again() -> None:
    """One question that is limited for long does not repeat those beside it."""
    limit = reply(429, headers={"retry-after": "900"})
    fake = github(check_runs=in_turn(limit, ANSWERS["/repos/a/b/commits/2.0/check-runs"]))
    run = run_task(release_check, RELEASE, http=fake)
    assert run.result == ok(message="a/b 2.0 is complete")
    assert len(fake.requests) == 4
    assert run.seconds >= 900
