"""The HTTP contract, row by row, against the real process over real sockets."""

import json
import random
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from service.core.wire import Json
from tests.harness import Service, serving, short_home, until

JOBS = """
import attrs, trio
from service import Context, CronJob, task

@attrs.frozen
class Greet:
    name: str
    times: int = 1

@task("greet")
async def greet(ctx: Context, payload: Greet) -> str:
    return "hello " * payload.times + payload.name

@task("wait")
async def wait(ctx: Context, payload: float) -> None:
    await trio.sleep(payload)
"""
SECRET = "s3cret-canary"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with short_home() as home, serving(home, JOBS, WEBHOOK_MAX_BODY_BYTES="100000") as running:
        yield running


@pytest.fixture(scope="module")
def guarded() -> Iterator[Service]:
    with short_home() as home, serving(home, JOBS, WEBHOOK_SECRET=SECRET) as running:
        yield running


def refused(answer: httpx.Response, status: int) -> str:
    """Assert that this is an error of the contract; return its message."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"status", "message"}
    assert body["status"] == "error"
    return str(body["message"])


def test_health_is_exactly_ok(service: Service) -> None:
    """A healthy service says {"status": "ok"} and nothing else, to readiness and to liveness."""
    for path in ("/_health", "/_health?live"):
        answer = service.client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_accepted_webhook_is_a_stored_run(service: Service) -> None:
    """202 carries exactly status and jobId, and the run id by which the stored run is found."""
    answer = service.post({"jobId": "echo", "payload": {"any": ["json", 1, None]}})
    assert answer.status_code == 202
    assert answer.json() == {"status": "accepted", "jobId": "echo"}
    run = service.run_until(answer.headers["X-Run-Id"], "ok")
    assert run["result"] == {"status": "ok", "data": {"any": ["json", 1, None]}}
    assert (run["trigger"], run["attempt"], run["crashes"]) == ("webhook", 1, 0)


def test_unknown_keys_of_the_envelope_are_ignored(service: Service) -> None:
    """A caller may send more than we read."""
    answer = service.post({"jobId": "echo", "payload": 1, "more": True})
    assert answer.status_code == 202


def test_missing_payload_is_null(service: Service) -> None:
    """A task without need of a payload can be asked for by its jobId alone."""
    answer = service.post({"jobId": "echo"})
    assert service.run(answer.headers["X-Run-Id"])["payload"] is None


@pytest.mark.parametrize("header", ["X-GitHub-Delivery", "Idempotency-Key"])
def test_same_delivery_runs_once(service: Service, header: str) -> None:
    """A delivery that comes again gets the first answer, says so, and starts nothing."""
    headers = {header: f"delivery-{header}"}
    first = service.post({"jobId": "echo", "payload": 1}, headers)
    again = service.post({"jobId": "echo", "payload": 1}, headers)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["X-Run-Id"] == first.headers["X-Run-Id"]
    ours = [run for run in service.runs() if run["deliveryId"] == f"delivery-{header}"]
    assert [run["id"] for run in ours] == [first.headers["X-Run-Id"]]


def test_racing_copies_of_a_delivery_run_once(service: Service) -> None:
    """However many copies arrive at the same time, one run comes of them."""

    def post(_: int) -> str:
        answer = httpx.post(
            service.client.base_url.join("/webhook"),
            json={"jobId": "echo"},
            headers={"X-GitHub-Delivery": "raced"},
        )
        assert answer.status_code == 202
        return str(answer.headers["X-Run-Id"])

    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(post, range(64)))
    assert len(ids) == 1
    assert [run["id"] for run in service.runs() if run["deliveryId"] == "raced"] == [*ids]


def test_hanging_up_leaves_the_store_right(service: Service) -> None:
    """Who leaves mid-request has one run or none; who asks again has exactly one, and whole."""
    rng = random.Random(1)
    keys = [f"hung-up-{number}" for number in range(150)]
    for number, key in enumerate(keys):
        body = b'{"jobId": "echo", "payload": "whole"}'
        head = f"POST /webhook HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        is_whole, is_rude = number % 5 != 0, number % 2 == 0
        text = request if is_whole else request[:-1]
        _leave(service, text, after_seconds=rng.random() / 100, is_rude=is_rude)
    for key in keys:
        again = service.post({"jobId": "echo", "payload": "whole"}, {"Idempotency-Key": key})
        run = service.run_until(again.headers["X-Run-Id"], "ok")
        assert run["result"] == {"status": "ok", "data": "whole"}
    ours = Counter(run["deliveryId"] for run in service.runs())
    assert [ours[key] for key in keys] == [1] * len(keys)


def _leave(service: Service, text: bytes, *, after_seconds: float, is_rude: bool) -> None:
    """Send `text` and leave at some point of its way; a rude farewell is RST, others are FIN."""
    address = (service.client.base_url.host, service.client.base_url.port or 0)
    with socket.create_connection(address) as client:
        client.sendall(text)
        time.sleep(after_seconds)
        if is_rude:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_delivery_is_remembered_across_restarts() -> None:
    """The same delivery after a kill -9 and a restart starts nothing."""
    with short_home() as folder:
        with serving(folder) as first:
            before = first.post({"jobId": "echo"}, {"X-GitHub-Delivery": "d"})
            first.kill()
        with serving(folder) as second:
            after = second.post({"jobId": "echo"}, {"X-GitHub-Delivery": "d"})
    assert after.headers["X-Run-Id"] == before.headers["X-Run-Id"]
    assert after.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "body"),
        (b"{", "JSON"),
        (b"\xff", "JSON"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b"{}", "jobId"),
        (b'{"jobId": null}', "jobId"),
        (b'{"jobId": 5}', "jobId"),
        (b'{"jobId": ""}', "jobId"),
        (b'{"jobId": "echo", "payload": NaN}', "JSON"),
        (b'{"jobId": "echo", "payload": 1e999}', "JSON"),
        (b'{"jobId": "echo", "payload": "\\ud800"}', "surrogate"),
        (b'{"jobId": "echo", "payload": ' + b"[" * 40000 + b"]" * 40000 + b"}", "nested"),
        (b'{"jobId": "echo", "payload": ' + b"1" * 5000 + b"}", "JSON"),
        (b'{"jobId": "greet", "payload": {"name": 5}}', "payload.name"),
        (b'{"jobId": "greet", "payload": {}}', "name"),
        (b'{"jobId": "greet", "payload": {"name": "a", "nam": 1}}', "nam"),
        (b'{"jobId": "greet"}', "payload"),
    ],
)
def test_bad_body_is_400_and_names_the_place(service: Service, body: bytes, names: str) -> None:
    """Whatever is wrong with a body, the message says where, and nothing is stored."""
    before = len(service.runs())
    message = refused(service.client.post("/webhook", content=body), 400)
    assert names in message
    assert len(service.runs()) == before


def test_a_body_of_tiny_arrays_is_400(guarded: Service) -> None:
    """A body that would take forty times its size is refused before it is parsed."""
    answer = guarded.client.post(
        "/webhook",
        content=b'{"jobId": "echo", "payload": [' + b"[]," * 500_000 + b"1]}",
        headers={"Authorization": f"Bearer {SECRET}"},
    )
    assert "more than 1,000,000 commas" in refused(answer, 400)


@pytest.mark.parametrize(
    "payload", [2**63, -(2**70), 1.5e300, "\U0001f600", {"a": {"b": [[], {}]}}, [None, True]]
)
def test_any_json_comes_back_as_it_was(service: Service, payload: Json) -> None:
    """A payload is stored and returned without loss."""
    answer = service.post({"jobId": "echo", "payload": payload})
    run = service.run_until(answer.headers["X-Run-Id"], "ok")
    assert (run["payload"], run["result"]) == (payload, {"status": "ok", "data": payload})


def test_last_of_duplicate_keys_counts(service: Service) -> None:
    """Duplicate keys are read as Python and JavaScript read them."""
    answer = service.client.post("/webhook", content=b'{"jobId": "x", "jobId": "echo"}')
    assert answer.json() == {"status": "accepted", "jobId": "echo"}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {SECRET}x",
        f"Basic {SECRET}",
        SECRET,
        "Bearer s\xe9cret",
    ],
)
def test_stranger_is_401(guarded: Service, header: str | None) -> None:
    """Without the secret nobody learns more than that; not even whether the body was good."""
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    for body in (b'{"jobId": "echo"}', b"not json"):
        answer = guarded.client.post("/webhook", content=body, headers=headers)
        assert SECRET not in refused(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_secret_in_utf8_is_let_in() -> None:
    """A secret beyond ASCII is compared as the bytes that UTF-8 makes of it."""
    secret = "gehe\u00efm\u00e0"
    with short_home() as home, serving(home, WEBHOOK_SECRET=secret) as service:
        headers = {b"Authorization": f"Bearer {secret}".encode()}
        body = b'{"jobId": "echo"}'
        assert service.client.post("/webhook", content=body, headers=headers).status_code == 202


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_right_secret_is_let_in(guarded: Service, scheme: str) -> None:
    """The scheme's case does not matter (RFC 9110 section 11.1)."""
    answer = guarded.post({"jobId": "echo"}, {"Authorization": f"{scheme} {SECRET}"})
    assert answer.status_code == 202


def test_health_needs_no_secret(guarded: Service) -> None:
    """Kubernetes asks without credentials."""
    assert guarded.client.get("/_health").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/webhook/", "//webhook", "/_health/", "//_health", "/static/x", "/runs", "/Webhook"],
)
def test_other_paths_are_404(service: Service, path: str) -> None:
    """There are two public paths and no others."""
    address = f"{service.client.base_url}".rstrip("/") + path
    refused(service.client.get(address), 404)
    refused(service.client.post(address), 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_of_webhook_are_405(service: Service, method: str) -> None:
    """405 says what is allowed."""
    answer = service.client.request(method, "/webhook")
    refused(answer, 405)
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_of_health_are_405(service: Service, method: str) -> None:
    """405 says what is allowed."""
    answer = service.client.request(method, "/_health")
    refused(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}


def test_body_too_large_is_413(service: Service) -> None:
    """A body over the limit is refused, whether its length is told first or not."""
    body = json.dumps({"jobId": "echo", "payload": "x" * 100_000}).encode()
    refused(service.client.post("/webhook", content=body), 413)
    refused(service.client.post("/webhook", content=iter([body[:50], body[50:]])), 413)


def test_unknown_job_is_500(service: Service) -> None:
    """The registry is known, so the caller learns at once that nobody will run this."""
    message = refused(service.post({"jobId": "no-such-task"}), 500)
    assert "no-such-task" in message


def test_request_while_stopping_is_stored() -> None:
    """What arrives while tasks finish is stored, and runs at the next start."""
    with short_home() as folder:
        with serving(folder, JOBS) as first:
            held = first.post({"jobId": "wait", "payload": 60}).headers["X-Run-Id"]
            first.run_until(held, "running")
            first.signal(signal.SIGTERM)
            assert refused(_until_stopping(first), 503)
            answer = first.post({"jobId": "echo", "payload": "late"})
            assert answer.status_code == 202
            first.signal(signal.SIGTERM)
            assert first.wait() == 0
        with serving(folder, JOBS) as second:
            late = second.run_until(answer.headers["X-Run-Id"], "ok")
            assert late["attempt"] == 1


def _until_stopping(service: Service) -> httpx.Response:
    """Return the first answer that says that the service is stopping."""

    def stopping() -> httpx.Response | None:
        answer = service.client.get("/_health")
        return None if answer.status_code == 200 else answer

    return until(stopping, "the service is stopping")


def test_sigterm_when_idle_exits_0() -> None:
    """An idle service, also with an idle client connected, stops clean and at once."""
    with short_home() as folder, serving(folder, SHUTDOWN_GRACE_SECONDS="60") as service:
        service.client.get("/_health")
        host, port = service.client.base_url.host, service.client.base_url.port
        with socket.create_connection((host, port or 0)):
            assert service.stop() == 0
