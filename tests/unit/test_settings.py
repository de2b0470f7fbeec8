"""The environment becomes settings, or a line that says what is wrong with it."""

from pathlib import Path

import attrs
import pytest

from service.core.errors import ConfigError
from service.settings import LogLevel, RunStore, Secret, Settings, effective, read_settings
from service.settings import variables as all_variables

DEFAULTS = {
    "HOST": "0.0.0.0",  # noqa: S104 - the documented default
    "PORT": "3000",
    "WEBHOOK_SECRET": "",
    "WEBHOOK_MAX_BODY_BYTES": "26214400",
    "DEDUPE_WINDOW_HOURS": "48",
    "JOBS_MODULE": "service.config",
    "CRON_TIMEZONE": "UTC",
    "RUNNERS": "8",
    "TASK_TIMEOUT_SECONDS": "300",
    "STEP_TIMEOUT_SECONDS": "30",
    "RETRY_BASE_SECONDS": "1",
    "RETRY_MAX_SECONDS": "3600",
    "SHUTDOWN_GRACE_SECONDS": "25",
    "RUN_STORE": "sqlite",
    "RUN_STORE_SQLITE_PATH": "data/runs.sqlite3",
    "RUN_RETENTION_DAYS": "180",
    "CONTROL_SOCKET": "data/control.sock",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "auto",
    "OTLP_ENDPOINT": "http://localhost:4318/v1/traces",
    "OTLP_METRICS_ENDPOINT": "",
    "SENTRY_DSN": "",
    "SENTRY_CRON_MONITORS": "false",
}
OTHERS = {
    "HOST": "::1",
    "PORT": "8080",
    "WEBHOOK_SECRET": "s3cr3t ünïcode",
    "WEBHOOK_MAX_BODY_BYTES": "1024",
    "DEDUPE_WINDOW_HOURS": "72",
    "JOBS_MODULE": "acme.jobs",
    "CRON_TIMEZONE": "Europe/Berlin",
    "RUNNERS": "1",
    "TASK_TIMEOUT_SECONDS": "0.5",
    "STEP_TIMEOUT_SECONDS": "7",
    "RETRY_BASE_SECONDS": "0",
    "RETRY_MAX_SECONDS": "60",
    "SHUTDOWN_GRACE_SECONDS": "0",
    "RUN_STORE": "memory",
    "RUN_STORE_SQLITE_PATH": "/var/lib/service/runs.sqlite3",
    "RUN_RETENTION_DAYS": "30",
    "CONTROL_SOCKET": "/run/service.sock",
    "LOG_LEVEL": "debug",
    "LOG_FORMAT": "json",
    "OTLP_ENDPOINT": "https://tempo.example/v1/traces",
    "OTLP_METRICS_ENDPOINT": "http://mimir.example:9009/otlp/v1/metrics",
    "SENTRY_DSN": "https://key@sentry.example/7",
    "SENTRY_CRON_MONITORS": "true",
}
SECRETS = {"WEBHOOK_SECRET", "SENTRY_DSN"}


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    """Every variable has exactly the default that the documents name."""
    assert {variable.name: variable.default for variable in all_variables()} == DEFAULTS
    assert read_settings({}) == Settings()


def test_every_variable_takes_a_value_of_its_own() -> None:
    """Each variable reaches the field of its name, and nothing else does."""
    settings = read_settings({**OTHERS, "UNRELATED": "1"})
    shown = {row.name: row.value for row in effective(settings, OTHERS)}
    assert shown == {name: "***" if name in SECRETS else OTHERS[name] for name in OTHERS}
    assert settings.webhook_secret is not None
    assert settings.webhook_secret.reveal() == "s3cr3t ünïcode"
    assert settings.sentry_dsn is not None
    assert settings.sentry_dsn.reveal() == OTHERS["SENTRY_DSN"]


def test_defaults_are_values_that_may_be_set() -> None:
    """Writing a default into the environment changes nothing."""
    assert read_settings(DEFAULTS) == Settings()


def test_fields_hold_what_their_kind_parses() -> None:
    """A parsed value is of its default's type, so code may trust the annotation."""
    parsed, default = read_settings({**OTHERS, **dict.fromkeys(SECRETS, "")}), Settings()
    for field in attrs.fields(Settings):
        held = getattr(default, field.name)
        assert held is None or type(getattr(parsed, field.name)) is type(held)


def test_an_empty_variable_counts_as_not_set() -> None:
    """An empty text is how a deployment says nothing: the default stands."""
    assert read_settings(dict.fromkeys(DEFAULTS, "")) == Settings()


def test_the_control_socket_lies_beside_the_database() -> None:
    """Two services on two databases need no second setting to stay apart."""
    settings = read_settings({"RUN_STORE_SQLITE_PATH": "/srv/a/runs.sqlite3"})
    assert settings.control_socket == Path("/srv/a/control.sock")


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("CONTROL_SOCKET", "é" * 54),
        ("RUN_STORE_SQLITE_PATH", "x" * 95 + "/a"),
    ],
)
def test_a_control_socket_with_too_long_a_path_is_refused(name: str, held: str) -> None:
    """Given or beside the database, a byte more than the system can hold is named as such."""
    with pytest.raises(ConfigError, match=r"^CONTROL_SOCKET: .* is 108 bytes long; .* 107 at most"):
        read_settings({name: held})


def test_choices_are_read_in_any_case() -> None:
    """INFO is as good as info."""
    settings = read_settings({"LOG_LEVEL": "WARNING", "RUN_STORE": "Memory"})
    assert (settings.log_level, settings.run_store) == (LogLevel.WARNING, RunStore.MEMORY)


def test_rows_say_who_decided() -> None:
    """A row's source tells a default from a variable, also when both say the same."""
    environ = {"PORT": "3000", "HOST": ""}
    sources = {row.name: row.source for row in effective(read_settings(environ), environ)}
    assert sources.pop("PORT") == "environment"
    assert set(sources.values()) == {"default"}


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("HOST", "two words"),
        ("PORT", "abc"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "3000 "),
        ("PORT", "1_000"),
        ("PORT", "٣"),
        ("PORT", "9" * 5000),
        ("RUNNERS", "0"),
        ("WEBHOOK_MAX_BODY_BYTES", "0"),
        ("RUN_RETENTION_DAYS", "0"),
        ("RUN_RETENTION_DAYS", "1.5"),
        ("TASK_TIMEOUT_SECONDS", "0"),
        ("TASK_TIMEOUT_SECONDS", "nan"),
        ("TASK_TIMEOUT_SECONDS", "inf"),
        ("TASK_TIMEOUT_SECONDS", "1e3"),
        ("SHUTDOWN_GRACE_SECONDS", "-0.1"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("RUN_STORE", "postgres"),
        ("RUN_STORE_SQLITE_PATH", ":memory:"),
        ("RUN_STORE_SQLITE_PATH", "file:runs?mode=memory"),
        ("RUN_STORE_SQLITE_PATH", "/"),
        ("RUN_STORE_SQLITE_PATH", "a\0b"),
        ("RUN_STORE_SQLITE_PATH", "a\udcff/runs"),
        ("CONTROL_SOCKET", "a\0b"),
        ("CONTROL_SOCKET", "a\udcff"),
        ("JOBS_MODULE", "acme/jobs.py"),
        ("JOBS_MODULE", "acme..jobs"),
        ("JOBS_MODULE", ".jobs"),
        ("CRON_TIMEZONE", "Mars/Olympus"),
        ("CRON_TIMEZONE", "America"),
        ("CRON_TIMEZONE", "../etc/passwd"),
        ("OTLP_ENDPOINT", "localhost:4318"),
        ("OTLP_ENDPOINT", "ftp://localhost/"),
        ("OTLP_ENDPOINT", "http://"),
        ("OTLP_ENDPOINT", "http://host:99999/"),
        ("OTLP_ENDPOINT", "http://[::1/"),
        ("OTLP_METRICS_ENDPOINT", "off"),
        ("SENTRY_CRON_MONITORS", "yes"),
        ("PORT", "30\n00"),
        ("PORT", "\udcff"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_accepted(name: str, held: str) -> None:
    """One printable line says the variable, what it held (cut when long) and what it may hold."""
    with pytest.raises(ConfigError) as refused:
        read_settings({name: held})
    line = str(refused.value)
    kind = next(variable.kind for variable in all_variables() if variable.name == name)
    assert line.startswith(f"{name}: '")
    assert repr(held[:80])[:-1] in line
    assert line.endswith(f"is not {kind.accepts}")
    assert line.isprintable()
    assert len(line) < 300


def test_every_wrong_value_is_named_at_once() -> None:
    """Who starts the service learns of all faults in one go, a line each."""
    with pytest.raises(ConfigError) as refused:
        read_settings({"PORT": "x", "RUNNERS": "y", "LOG_LEVEL": "info"})
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == [
        "PORT",
        "RUNNERS",
    ]


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("WEBHOOK_SECRET", "canary\n"),
        ("WEBHOOK_SECRET", " canary"),
        ("WEBHOOK_SECRET", "can\x00ary"),
        ("WEBHOOK_SECRET", "canary\udcff"),
        ("WEBHOOK_SECRET", "\u00a0canary"),
        ("SENTRY_DSN", "canary"),
        ("SENTRY_DSN", "https://sentry.example/canary"),
        ("SENTRY_DSN", "https://canary@sentry.example/"),
        ("OTLP_ENDPOINT", "http://user:canary@host/"),
    ],
)
def test_what_may_hide_a_secret_is_refused_without_showing_it(name: str, held: str) -> None:
    """A refused secret is named by its variable, never by its value."""
    with pytest.raises(ConfigError, match=name) as refused:
        read_settings({name: held})
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_a_secret_shows_itself_to_nobody() -> None:
    """Neither text, nor representation, nor a dump of the settings holds a secret."""
    settings = Settings(webhook_secret=Secret("canary"), sentry_dsn=Secret("canary"))
    rows = effective(settings, {"WEBHOOK_SECRET": "canary"})
    for shown in (settings, settings.webhook_secret, rows, attrs.asdict(settings)):
        assert "canary" not in f"{shown}{shown!r}{shown!s:>20}"


def test_units_stand_last_in_the_names() -> None:
    """A limit with a unit carries it as the last word of its name."""
    for variable in all_variables():
        if variable.unit:
            assert variable.name.lower().endswith(f"_{variable.unit}")
        assert variable.meaning
