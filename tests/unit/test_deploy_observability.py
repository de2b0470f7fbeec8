"""What deploy/observability/ shows and watches is what the real process sends."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import promql_parser
import pytest
import yaml
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from service.core.tick import TickOutcome
from service.core.wire import Json, decode
from service.observability.attempts import Ending
from service.observability.metrics import LONG_SECONDS
from tests.harness import ROOT, serving, short_home, until
from tests.kustomize import render
from tests.receivers import Receiver

FOLDER: Final = ROOT / "deploy" / "observability"
JOBS: Final = """
from service import CronJob, task

@task("fails", retries=1, retry_base_seconds=0.001)
async def fails(ctx):
    raise LookupError("on purpose")

CRON_JOBS = [CronJob(id="secondly", schedule="* * * * * *", job_id="echo")]
"""
OURS: Final = frozenset({"job", "instance", "le"})
"""Labels that Prometheus adds: service.name, service.instance.id and a histogram's bounds."""


@attrs.frozen
class Seen:
    """What came out of a real process: labels by Prometheus' names, fields of the log, spans."""

    series: dict[str, frozenset[str]]
    fields: frozenset[str]
    messages: frozenset[str]
    span_attributes: frozenset[str]


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Let a process accept, repeat, fail, retry and tick; then stop it, and see what it sent."""
    with short_home() as home, Receiver() as receiver:
        with serving(
            home,
            JOBS,
            OTEL_SDK_DISABLED="false",
            OTLP_ENDPOINT=receiver.traces_url,
            OTLP_METRICS_ENDPOINT=receiver.metrics_url,
        ) as service:
            for _ in range(2):
                service.client.post(
                    "/webhook", json={"jobId": "echo"}, headers={"Idempotency-Key": "one"}
                )
            service.post({"jobId": "fails"})
            until(lambda: service.logged("run failed"), "a run has failed")
            until(
                lambda: sum(run["trigger"] == "cron" for run in service.runs()) > 2,
                "ticks ran, and the loop was measured in between",
            )
            assert service.stop() == 0
            lines = service.log()
        return Seen(
            series=dict(
                series for metric in receiver.metrics.values() for series in _series(metric)
            ),
            fields=frozenset(field for line in lines for field in line),
            messages=frozenset(str(line["message"]) for line in lines),
            span_attributes=frozenset(name for span in receiver.spans for name in span.attributes),
        )


def _series(metric: Metric) -> Iterator[tuple[str, frozenset[str]]]:
    """Name a metric as Prometheus does (https://prometheus.io/docs/guides/opentelemetry/)."""
    kind = str(metric.WhichOneof("data"))
    unit = {"s": "_seconds", "By": "_bytes"}.get(metric.unit, "")
    name = metric.name.replace(".", "_") + unit
    labels = frozenset(
        pair.key.replace(".", "_")
        for point in getattr(metric, kind).data_points
        for pair in point.attributes
    )
    if kind == "histogram":
        yield from ((f"{name}_{part}", labels) for part in ("bucket", "sum", "count"))
    else:
        yield f"{name}_total" if kind == "sum" else name, labels


def dashboard() -> Json:
    return decode((FOLDER / "grafana" / "service.json").read_bytes())


def alerts() -> dict[str, str]:
    """Return each alert's expression by its name."""
    [group] = yaml.safe_load((FOLDER / "prometheus" / "alerts.yml").read_bytes())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def queries(node: Json, source: str) -> Iterator[str]:
    """Find what the dashboard asks of a data source of this type."""
    if isinstance(node, list):
        for each in node:
            yield from queries(each, source)
    elif isinstance(node, dict):
        asked = node.get("datasource")
        for key in ("expr", "query"):
            text = node.get(key)
            if isinstance(asked, dict) and asked["type"] == source and text is not None:
                yield str(text["query"] if isinstance(text, dict) else text)
        for each in node.values():
            yield from queries(each, source)


def promql() -> list[str]:
    """Return every expression that Prometheus is asked, with Grafana's variables filled in."""
    asked = [*queries(dashboard(), "prometheus"), *alerts().values()]
    for source in yaml.safe_load((FOLDER / "grafana" / "datasources.yaml").read_bytes())[
        "datasources"
    ]:
        linked = source["jsonData"].get("tracesToMetrics", {"queries": []})
        asked += [each["query"].replace("$$__tags", 'job_id="x"') for each in linked["queries"]]
    return [
        re.sub(
            r"\$__(rate_interval|range)", "5m", re.sub(r"label_values\((.*), \w+\)", r"\1", each)
        )
        for each in asked
    ]


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def unknown(expression: str, seen: Seen) -> set[str]:
    """Return the metrics and labels of an expression that the service does not send."""
    wrong: set[str] = set()
    known: set[str] = set(OURS)
    for selector in selectors(expression):
        labels = seen.series.get(str(selector.name))
        if labels is None:
            wrong.add(str(selector.name))
            continue
        known |= labels
        wrong |= {each.name for each in selector.matchers.matchers} - labels - OURS
    for names in re.findall(r"\b(?:by|on|ignoring|without) *\(([^)]*)\)", expression):
        wrong |= {name.strip() for name in names.split(",")} - known
    return wrong


@pytest.mark.parametrize("expression", promql())
def test_metrics_and_labels_are_the_services(expression: str, seen: Seen) -> None:
    """Every metric and label that a panel or an alert uses, the real process sends."""
    assert selectors(expression)
    assert not unknown(expression, seen)


@pytest.mark.parametrize(
    "expression",
    [
        "job_run_total",
        'job_runs_total{status="error"}',
        "sum by (cron_id) (job_runs_total)",
        "rate(job_queue_age[5m])",
    ],
)
def test_a_wrong_name_is_found(expression: str, seen: Seen) -> None:
    """The check is no formality: a metric or a label that nobody sends fails it."""
    assert unknown(expression, seen)


def test_outcomes_are_the_services() -> None:
    """The outcomes that are asked for are outcomes that there are."""
    kinds: dict[str, set[str]] = {
        "job_runs_total": {str(each) for each in Ending},
        "cron_ticks_total": {str(each) for each in TickOutcome},
    }
    asked = [
        (str(selector.name), matcher.value)
        for expression in promql()
        for selector in selectors(expression)
        for matcher in selector.matchers.matchers
        if matcher.name == "outcome"
    ]
    assert asked
    assert all(value in kinds[name] for name, value in asked)


def test_lateness_is_measured_where_the_alert_looks() -> None:
    """The bound of the alert on late ticks is a bound of the histogram."""
    assert 'le=~"60(' in alerts()["TicksLate"]
    assert 60 in LONG_SECONDS


def test_the_store_is_large_before_its_volume_is_full() -> None:
    """The alert on the store's size fires at four fifths of the volume that the base claims."""
    bound = int(alerts()["StoreLarge"].rpartition(">")[2])
    [stateful] = [
        each
        for each in render(ROOT / "deploy" / "kubernetes" / "base")
        if each["kind"] == "StatefulSet"
    ]
    [size] = re.findall(r"'storage': '(\d+)Gi'", str(stateful))
    assert bound == int(size) * 2**30 * 4 // 5


def test_log_fields_and_messages_are_the_services(seen: Seen) -> None:
    """What panels, links and the collector read from a log line stands in real lines."""
    asked = list(queries(dashboard(), "loki"))
    assert len(asked) == 3
    for query in asked:
        used = re.findall(r"\{\{\.(\w+)\}\}|\| (\w+)=~", query)
        fields = {name for pair in used for name in pair if name}
        assert fields <= seen.fields | {"reason"}
        for pattern in re.findall(r'message=~"([^"]*)"', query):
            assert [each for each in seen.messages if re.fullmatch(pattern, each)]
    store = (ROOT / "service" / "actors" / "store.py").read_text(encoding="utf-8")
    assert 'log.error("the store cannot commit", reason=' in store
    collector = (FOLDER / "alloy" / "config.alloy").read_text(encoding="utf-8")
    [read] = re.findall(r"expressions = \{(.*)\}", collector)
    assert set(re.findall(r"(\w+) = ", read)) <= seen.fields


def test_spans_have_what_traces_are_searched_by(seen: Seen) -> None:
    """The attributes that Tempo is asked for are on real spans."""
    [query] = queries(dashboard(), "tempo")
    asked = set(re.findall(r"span\.([\w.]+)", query))
    assert asked
    assert asked <= seen.span_attributes


def test_logs_and_traces_lead_to_each_other() -> None:
    """The data sources name one another by ids that exist, and the pattern finds a trace's id."""
    sources = {
        each["type"]: each
        for each in yaml.safe_load((FOLDER / "grafana" / "datasources.yaml").read_bytes())[
            "datasources"
        ]
    }
    uids = {each["uid"] for each in sources.values()}
    [derived] = sources["loki"]["jsonData"]["derivedFields"]
    assert derived["datasourceUid"] == sources["tempo"]["uid"]
    assert sources["tempo"]["jsonData"]["tracesToLogsV2"]["datasourceUid"] == sources["loki"]["uid"]
    line = json.dumps({"trace_id": "55b0a03047d42d66"}, separators=(",", ":"))
    assert re.findall(derived["matcherRegex"], line) == ["55b0a03047d42d66"]
    assert set(re.findall(r'"uid": "(\w+)"', json.dumps(dashboard()))) <= uids


def test_every_alert_leads_to_the_runbook() -> None:
    """The runbook lists every alert, and has the heading that each one names."""
    runbook = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", runbook, re.MULTILINE)
    listed = re.findall(r"\w+", " ".join(re.findall(r"^\| ([A-Z].*?) \|", runbook, re.MULTILINE)))
    [group] = yaml.safe_load((FOLDER / "prometheus" / "alerts.yml").read_bytes())["groups"]
    assert sorted(listed) == sorted(rule["alert"] for rule in group["rules"])
    for rule in group["rules"]:
        assert rule["annotations"]["runbook"] in headings, rule["alert"]


def test_the_stack_is_pinned_and_its_files_exist() -> None:
    """Every image has a version, and every file that is mounted is there."""
    services = yaml.safe_load((FOLDER / "compose.yaml").read_bytes())["services"]
    for name, service in services.items():
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert not source.startswith("./") or Path(FOLDER / source).exists(), volume
