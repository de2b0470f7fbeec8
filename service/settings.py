"""The environment, read once and checked, as one frozen `Settings`.

The class is the only list of variables: reading them, `service check` and the README's table all
come from it. A field is named as its variable, in lower case.
"""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

import attrs

from service.core import variables as may_be
from service.core.errors import ConfigError
from service.core.variables import Kind, Secret

__all__ = [
    "Effective",
    "LogFormat",
    "LogLevel",
    "RunStore",
    "Secret",
    "Settings",
    "Variable",
    "effective",
    "read_settings",
    "variables",
]

_SHOWN_MAX: Final = 80

_SOCKET_PATH_MAX_BYTES: Final = 107
"""`sun_path` of unix(7) has 108, with the zero at its end."""


class LogLevel(StrEnum):
    """The least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class LogFormat(StrEnum):
    """How a log line looks; auto is console on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class RunStore(StrEnum):
    """Where runs are remembered."""

    SQLITE = "sqlite"
    MEMORY = "memory"


def _means(kind: Kind[object], meaning: str, *, unit: str = "") -> dict[str, object]:
    return {"kind": kind, "meaning": meaning, "unit": unit}


@attrs.frozen(kw_only=True)
class Settings:
    """Every setting of the service; what is not given has its documented default."""

    host: str = attrs.field(
        default="0.0.0.0",  # noqa: S104 - in a container, all interfaces are what is wanted
        metadata=_means(
            may_be.text(r"[!-~]+", "a host name or an IP address"), "Address that HTTP listens on"
        ),
    )
    port: int = attrs.field(
        default=3000,
        metadata=_means(
            may_be.whole(0, 65535), "Port that HTTP listens on; 0 lets the system choose"
        ),
    )
    webhook_secret: Secret | None = attrs.field(
        default=None,
        metadata=_means(
            may_be.token(), "Bearer token that `POST /webhook` demands; empty lets everyone in"
        ),
    )
    webhook_max_body_bytes: int = attrs.field(
        default=26_214_400,
        metadata=_means(
            may_be.whole(1, 2**30), "Largest request body; GitHub sends up to 25 MB", unit="bytes"
        ),
    )
    dedupe_window_hours: int = attrs.field(
        default=48,
        metadata=_means(
            may_be.whole(1, 8760), "How long a delivery id is remembered", unit="hours"
        ),
    )
    jobs_module: str = attrs.field(
        default="service.config",
        metadata=_means(
            may_be.text(r"[^\W\d]\w*(\.[^\W\d]\w*)*", "a module name such as service.config"),
            "Module that holds your tasks and `CRON_JOBS`",
        ),
    )
    cron_timezone: str = attrs.field(
        default="UTC",
        metadata=_means(may_be.timezone(), "Time zone of the cron jobs that name none"),
    )
    runners: int = attrs.field(
        default=8,
        metadata=_means(may_be.whole(1, 1000), "How many runs are performed side by side"),
    )
    task_timeout_seconds: float = attrs.field(
        default=300.0,
        metadata=_means(may_be.number(0.001, 604800), "Time an attempt may take", unit="seconds"),
    )
    step_timeout_seconds: float = attrs.field(
        default=30.0,
        metadata=_means(
            may_be.number(0.001, 604800), "Time a step of a task may take", unit="seconds"
        ),
    )
    retry_base_seconds: float = attrs.field(
        default=1.0,
        metadata=_means(
            may_be.number(0, 86400),
            "Wait before the first retry; doubles each time",
            unit="seconds",
        ),
    )
    retry_max_seconds: float = attrs.field(
        default=3600.0,
        metadata=_means(may_be.number(0, 604800), "Longest wait before a retry", unit="seconds"),
    )
    shutdown_grace_seconds: float = attrs.field(
        default=25.0,
        metadata=_means(
            may_be.number(0, 86400), "Time that running tasks have after SIGTERM", unit="seconds"
        ),
    )
    run_store: RunStore = attrs.field(
        default=RunStore.SQLITE,
        metadata=_means(may_be.choice(RunStore), "Where runs are remembered: `sqlite` or `memory`"),
    )
    run_store_sqlite_path: Path = attrs.field(
        default=Path("data/runs.sqlite3"),
        metadata=_means(may_be.file(), "Database file, used when `RUN_STORE=sqlite`"),
    )
    run_retention_days: int = attrs.field(
        default=180,
        metadata=_means(may_be.whole(1, 36500), "How long finished runs are kept", unit="days"),
    )
    control_socket: Path = attrs.field(
        default=attrs.Factory(
            lambda settings: settings.run_store_sqlite_path.with_name("control.sock"),
            takes_self=True,
        ),
        metadata=_means(
            may_be.socket(),
            "Unix socket that the `service` commands talk to; the default lies beside the database",
        ),
    )
    log_level: LogLevel = attrs.field(
        default=LogLevel.INFO,
        metadata=_means(
            may_be.choice(LogLevel),
            "Least severe level: `debug`, `info`, `warning`, `error` or `critical`",
        ),
    )
    log_format: LogFormat = attrs.field(
        default=LogFormat.AUTO,
        metadata=_means(
            may_be.choice(LogFormat),
            "`json`, `console`, or `auto`: console on a terminal, else JSON",
        ),
    )
    otlp_endpoint: str = attrs.field(
        default="http://localhost:4318/v1/traces",
        metadata=_means(may_be.endpoint(), "Where traces go, by OTLP over HTTP"),
    )
    otlp_metrics_endpoint: str | None = attrs.field(
        default=None,
        metadata=_means(may_be.endpoint(), "Where metrics go, by OTLP over HTTP; empty sends none"),
    )
    sentry_dsn: Secret | None = attrs.field(
        default=None,
        metadata=_means(may_be.dsn(), "Sentry project that errors go to; empty sends none"),
    )
    sentry_cron_monitors: bool = attrs.field(
        default=False,
        metadata=_means(
            may_be.boolean(), "Whether Sentry watches the cron jobs: `true` or `false`"
        ),
    )

    @property
    def store_file(self) -> Path | None:
        """The database file; None when runs are remembered in memory."""
        return self.run_store_sqlite_path if self.run_store is RunStore.SQLITE else None


@attrs.frozen
class Variable:
    """An environment variable: what it means and may hold; a default of "" means not set."""

    name: str
    default: str
    kind: Kind[object]
    meaning: str
    unit: str


@attrs.frozen
class Effective:
    """A setting in force, fit to be shown: a secret is only said to be set."""

    name: str
    value: str
    source: Literal["default", "environment"]


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings; a variable that is empty counts as not set.

    Raises ConfigError with a line for each wrong variable: its name, what it held (never a
    secret), what it may hold.
    """
    values = {}
    faults = []
    for field in attrs.fields(Settings):
        name, kind = field.name.upper(), field.metadata["kind"]
        if held := environ.get(name):
            try:
                values[field.name] = kind.parse(held)
            except ValueError:
                faults.append(f"{name}: {_quoted(held, kind)} is not {kind.accepts}")
    if faults:
        raise ConfigError("\n".join(faults))
    settings = Settings(**values)
    _demand_short(settings.control_socket)
    return settings


def variables() -> list[Variable]:
    """Return every variable, in the order of the README's table."""
    defaults = Settings()
    return [
        Variable(field.name.upper(), _shown(getattr(defaults, field.name)), **field.metadata)
        for field in attrs.fields(Settings)
    ]


def effective(settings: Settings, environ: Mapping[str, str]) -> list[Effective]:
    """Return the settings in force, and whether `environ` or the default decided each."""
    return [
        Effective(
            name := field.name.upper(),
            _shown(getattr(settings, field.name)),
            "environment" if environ.get(name) else "default",
        )
        for field in attrs.fields(Settings)
    ]


def _demand_short(path: Path) -> None:
    """Refuse a socket, given or beside the database, whose path the system cannot hold."""
    length = len(os.fsencode(path))
    if length > _SOCKET_PATH_MAX_BYTES:
        raise ConfigError(
            f"CONTROL_SOCKET: {str(path)!r} is {length} bytes long; the path of a Unix socket has "
            f"{_SOCKET_PATH_MAX_BYTES} at most, so choose a shorter one, or one relative to the "
            "folder"
        )


def _shown(value: object) -> str:
    """Write a value as its variable would hold it; a secret stays a secret."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.12g}"
        case _:
            return str(value)


def _quoted(held: str, kind: Kind[object]) -> str:
    if kind.secret or "@" in held:  # an address may carry a password
        return "the value (not shown)"
    return repr(held if len(held) <= _SHOWN_MAX else held[:_SHOWN_MAX] + "…")
