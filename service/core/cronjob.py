"""A cron job as its owner writes it."""

import reprlib
from typing import Final, Literal, get_args

import attrs

from service.core.expression import ExpressionError
from service.core.schedule import Schedule, compile_schedule
from service.core.wire import Json, NotJson, encode

__all__ = ["CatchUp", "CronJob", "Overlap"]

CatchUp = Literal["latest", "all", "none"]
Overlap = Literal["skip", "allow", "queue_one", "cancel_previous"]

_NAME_MAX: Final = 128
_DAY_SECONDS: Final = 86_400
_YEAR_SECONDS: Final = 366 * _DAY_SECONDS
_BATCH_MAX: Final = 10_000
_RETRIES_MAX: Final = 100


@attrs.frozen(kw_only=True)
class CronJob:
    """Runs the task `job_id` whenever `schedule` ticks; all durations are in seconds.

    Raises ValueError, which names the field, what it held and what it may hold.
    """

    id: str
    """Names the job in its history: a renamed job is a new one."""
    schedule: str
    """Vixie's five fields, six with seconds first, or an alias such as `@daily`."""
    job_id: str
    payload: Json = None
    timezone: str | None = None
    """An IANA zone such as Europe/Berlin; None means the service's CRON_TIMEZONE."""
    catch_up: CatchUp = "latest"
    """What becomes of ticks that passed while the service was down or late: the `latest` one runs,
    `all` run, or `none`. A tick less than a minute old is on time, and not one of these.
    """
    catch_up_window: float = _DAY_SECONDS
    """Older ticks are missed."""
    catch_up_max: int = 100
    """How many ticks `all` may run at once, the newest of them; the others are missed."""
    overlap: Overlap = "skip"
    """When a tick comes while an earlier run of this job is queued or running: `skip` the tick,
    `allow` both, `queue_one` behind it unless one waits already, or `cancel_previous`. The ticks
    that `all` catches up at once do not count as earlier to one another.
    """
    jitter: float = 0
    """A run is due up to this much after its tick, always the same for the same job and tick."""
    enabled: bool = True
    """Ticks of a job that is not enabled are missed."""
    retries: int | None = None
    """None means the task's own."""
    timeout: float | None = None
    """None means the task's own."""

    def __attrs_post_init__(self) -> None:
        self._check_name("id")
        self._check_name("job_id")
        if self.timezone is not None:
            self._check_name("timezone")
        if not isinstance(self.schedule, str):
            raise self._fault("schedule", f"{reprlib.repr(self.schedule)} is not a text")
        self._check_choice("catch_up", get_args(CatchUp))
        self._check_choice("overlap", get_args(Overlap))
        self._check_choice("enabled", (True, False))
        self._check_number("catch_up_window", 0, _YEAR_SECONDS)
        self._check_number("catch_up_max", 1, _BATCH_MAX, whole=True)
        self._check_number("jitter", 0, _DAY_SECONDS)
        if self.retries is not None:
            self._check_number("retries", 0, _RETRIES_MAX, whole=True)
        if self.timeout is not None:
            self._check_number("timeout", 0.001, _YEAR_SECONDS)
        try:
            encode(self.payload)
        except NotJson as error:
            raise self._fault("payload", f"holds what is not JSON at {error}") from None
        self.compiled(default_timezone="UTC")

    def compiled(self, *, default_timezone: str) -> Schedule:
        """Return the schedule in the job's own zone, or else in `default_timezone`.

        Raises ValueError as construction does.
        """
        try:
            return compile_schedule(self.schedule, self.timezone or default_timezone)
        except ExpressionError as error:
            raise self._fault("schedule", str(error)) from None
        except ValueError as error:
            raise self._fault("timezone", str(error)) from None

    def _check_name(self, field: str) -> None:
        value: object = getattr(self, field)
        if not (isinstance(value, str) and value.isprintable() and 0 < len(value) <= _NAME_MAX):
            raise self._fault(
                field,
                f"{reprlib.repr(value)} is not a text of 1 to {_NAME_MAX} printable characters",
            )

    def _check_choice(self, field: str, choices: tuple[object, ...]) -> None:
        value: object = getattr(self, field)
        if type(value) is not type(choices[0]) or value not in choices:
            raise self._fault(
                field, f"{reprlib.repr(value)} is not one of {', '.join(map(repr, choices))}"
            )

    def _check_number(self, field: str, low: float, high: float, *, whole: bool = False) -> None:
        value: object = getattr(self, field)
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise self._fault(field, f"{reprlib.repr(value)} is not {kind} from {low} to {high}")

    def _fault(self, field: str, message: str) -> ValueError:
        return ValueError(f"cron job {reprlib.repr(self.id)}: {field}: {message}")
