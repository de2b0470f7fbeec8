"""Webhooks from several clients at once, and a record of what they were told."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import attrs
import httpx

from service.core.wire import Json

TASKS: Final = ("succeed", "succeed", "succeed", "fail", "retry", "hang", "thread")
CLIENTS: Final = 4


@attrs.define
class Answers:
    """What callers were told; shared by their threads."""

    run_of: dict[str, str] = attrs.field(factory=dict)
    """Delivery id to run id, of every delivery that was answered 202."""
    unanswered: set[str] = attrs.field(factory=set)
    """Deliveries whose fate their callers do not know: they will send them again."""
    replayed: int = 0
    refused: int = 0
    faults: list[str] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def accepted(self, delivery: str, answer: httpx.Response) -> None:
        run_id = answer.headers["X-Run-Id"]
        with self._lock:
            self.replayed += "Idempotent-Replayed" in answer.headers
            self.unanswered.discard(delivery)
            if self.run_of.setdefault(delivery, run_id) != run_id:
                self.faults.append(f"{delivery}: {self.run_of[delivery]}, then {run_id}")

    def failed(self, delivery: str, answer: httpx.Response | None) -> None:
        with self._lock:
            self.unanswered.add(delivery)
            self.refused += answer is not None
            if answer is not None and answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                self.faults.append(f"{delivery}: {answer.status_code} {answer.text}")
            elif answer is not None and "Retry-After" not in answer.headers:
                self.faults.append(f"{delivery}: 503 without Retry-After")

    def take_unanswered(self) -> str | None:
        with self._lock:
            return self.unanswered.pop() if self.unanswered else None


def send(client: httpx.Client, answers: Answers, delivery: str, payload: Json = None) -> bool:
    """Send a delivery once and note the answer; False when nobody answered.

    The delivery id says which task is wanted, so that a copy asks for the same.
    """
    try:
        answer = client.post(
            "/webhook",
            json={"jobId": delivery.split("-", 1)[0], "payload": payload},
            headers={"X-GitHub-Delivery": delivery},
        )
    except httpx.TransportError:
        answers.failed(delivery, None)
        return False
    if answer.status_code == HTTPStatus.ACCEPTED:
        answers.accepted(delivery, answer)
    else:
        answers.failed(delivery, answer)
    return True


@contextmanager
def under_load(address: httpx.URL, answers: Answers, seed: int) -> Iterator[None]:
    """Send webhooks until the block has ended; a client stops when nobody answers it."""
    done = threading.Event()

    def caller(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        with httpx.Client(base_url=address, timeout=30) as client:
            for count in range(100_000):
                again = answers.take_unanswered()
                delivery = again or f"{rng.choice(TASKS)}-{seed}-{number}-{count}"
                copies = 2 if rng.random() < 0.2 else 1
                answered = all(send(client, answers, delivery) for _ in range(copies))
                if done.is_set() or not answered:
                    return

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(CLIENTS)]
    for thread in callers:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in callers:
            thread.join()
