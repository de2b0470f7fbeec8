"""What an owner may write as a cron job, and how the rest is refused."""

import attrs
import pytest

from service.core.cronjob import CronJob
from service.core.schedule import compile_schedule


def test_three_words_make_a_job() -> None:
    """The defaults are the careful ones."""
    job = CronJob(id="morning", schedule="0 9 * * 1-5", job_id="greet")
    assert (job.payload, job.timezone, job.enabled) == (None, None, True)
    assert (job.catch_up, job.catch_up_window, job.catch_up_max) == ("latest", 86_400, 100)
    assert (job.overlap, job.jitter, job.retries, job.timeout) == ("skip", 0, None, None)


def test_a_zone_of_its_own_comes_first() -> None:
    """A job without a zone follows the service's."""
    job = CronJob(id="a", schedule="@daily", job_id="b")
    assert job.compiled(default_timezone="Asia/Tokyo") == compile_schedule("@daily", "Asia/Tokyo")
    own = CronJob(id="a", schedule="@daily", job_id="b", timezone="Europe/Berlin")
    assert own.compiled(default_timezone="Asia/Tokyo") == compile_schedule(
        "@daily", "Europe/Berlin"
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("id", "", "'' is not a text of 1 to 128 printable characters"),
        ("id", "a\nb", "'a\\nb' is not a text"),
        ("id", "x" * 129, "is not a text of 1 to 128"),
        ("id", 5, "5 is not a text"),
        ("job_id", None, "None is not a text"),
        ("schedule", 5, "5 is not a text"),
        ("schedule", "0 25 * * *", "field 2 (hour): '25' is not in 0-23"),
        ("timezone", "Mars/Olympus", "'Mars/Olympus' is not an IANA time zone"),
        ("timezone", "", "'' is not a text"),
        ("timezone", 1, "1 is not a text"),
        ("catch_up", "newest", "'newest' is not one of 'latest', 'all', 'none'"),
        ("catch_up", None, "None is not one of 'latest', 'all', 'none'"),
        ("catch_up", ["all"], "['all'] is not one of"),
        ("overlap", "queue", "is not one of 'skip', 'allow', 'queue_one', 'cancel_previous'"),
        ("enabled", 1, "1 is not one of True, False"),
        ("catch_up_window", -1, "-1 is not a number from 0 to 31622400"),
        ("catch_up_window", float("nan"), "nan is not a number"),
        ("catch_up_max", 0, "0 is not a whole number from 1 to 10000"),
        ("catch_up_max", 1.5, "1.5 is not a whole number"),
        ("jitter", True, "True is not a number from 0 to 86400"),
        ("jitter", "5", "'5' is not a number"),
        ("retries", -1, "-1 is not a whole number from 0 to 100"),
        ("timeout", 0, "0 is not a number from 0.001 to 31622400"),
        ("payload", {"a": [1, {2}]}, "holds what is not JSON at $.a[1]: set"),
    ],
)
def test_a_refusal_names_the_field(field: str, value: object, message: str) -> None:
    """A wrong field is refused with the job, the field, what it held and what it may hold."""
    job = CronJob(id="a", schedule="@daily", job_id="b")
    with pytest.raises(ValueError, match=f": {field}: ") as caught:
        attrs.evolve(job, **{field: value})  # type: ignore[arg-type] # owners' files are not checked
    assert str(caught.value).startswith("cron job ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300
