"""A group of questions comes to what the same questions come to one by one."""

from contextlib import closing
from datetime import datetime, timedelta

import attrs
from hypothesis import given
from hypothesis import strategies as st

from service.core.run import Run, Status
from service.messages import CancelRun, Delivery, Enqueue, Finish, GetRun, Question, Release, Retry
from service.storage.database import Database
from service.storage.group import answer_all
from service.storage.queries import Queue, answer
from service.storage.queries.rows import ROWS_MAX
from tests.stores import START, enqueue

WINDOW = timedelta(minutes=3)
DELIVERIES = st.none() | st.sampled_from("abcde")


def asked(delivery: str | None) -> Enqueue:
    question = enqueue()
    if delivery is None:
        return question
    return attrs.evolve(question, delivery=Delivery(key=delivery, id=delivery, window=WINDOW))


def stored(database: Database) -> list[tuple[object, ...]]:
    columns = "SELECT seq, id, delivery_id, created_at, body FROM runs JOIN payloads USING (seq)"
    deliveries = "SELECT key, run_id, seen_at, NULL, NULL FROM deliveries ORDER BY key"
    return [row for sql in (columns, deliveries) for row in database.connection.execute(sql)]


@given(st.lists(st.lists(DELIVERIES, min_size=1, max_size=12), max_size=6))
def test_copies_of_a_delivery_start_one_run_also_in_one_group(
    groups: list[list[str | None]],
) -> None:
    """Verdicts and tables are the same, whichever came together, also when a window has passed."""
    with closing(Database.open(None)) as together, closing(Database.open(None)) as apart:
        for number, deliveries in enumerate(groups):
            now = START + timedelta(minutes=number)
            questions = [asked(delivery) for delivery in deliveries]
            with together.transaction(), apart.transaction():
                verdicts = [verdict.unwrap() for verdict in answer_all(together, questions, now)]
                assert verdicts == [answer(each, apart.connection, now) for each in questions]
        assert stored(together) == stored(apart)


def about(kind: str, number: int, claim: int, group: int) -> Question[object]:
    """Return a question about a run that may be there; in a group, no two contradict each other."""
    run_id = f"run {number}"
    match kind:
        case "finish":
            status = Status.OK if group % 2 else Status.ERROR
            return Finish(run_id, claim, status, f'{{"message": "{group}"}}')
        case "retry":
            return Retry(run_id, claim, START + timedelta(minutes=group + 1), "{}")
        case "release":
            return Release(run_id, claim)
        case "cancel":
            return CancelRun(run_id)
        case _:
            return enqueue()


KINDS = st.sampled_from(["finish", "finish", "finish", "retry", "release", "cancel", "enqueue"])
ASKED = st.tuples(KINDS, st.integers(0, 5), st.integers(1, 3))
PLACES = {Enqueue: 0, Finish: 1}


@given(st.lists(st.tuples(st.lists(ASKED, max_size=12), st.integers(0, 3)), max_size=8))
def test_ends_that_come_twice_or_late_end_nothing_also_in_one_group(
    groups: list[tuple[list[tuple[str, int, int]], int]],
) -> None:
    """A group is its new runs, then its ends, then the rest, each as if it had been asked alone."""
    with closing(Database.open(None)) as together, closing(Database.open(None)) as apart:
        first = [attrs.evolve(enqueue(), run_id=f"run {number}") for number in range(5)]
        queues = [(together, Queue({})), (apart, Queue({}))]
        for database, _ in queues:
            with database.transaction():
                answer_all(database, first, START)
        for group, (asked, claims) in enumerate(groups):
            now = START + timedelta(minutes=group)
            questions = [about(*each, group) for each in asked]
            with together.transaction(), apart.transaction():
                verdicts = [each.unwrap() for each in answer_all(together, questions, now)]
                assert verdicts == one_by_one(apart, questions, now)
                taken, again = (queue.claim(db.connection, now, claims) for db, queue in queues)
                assert taken == again
        assert everything(together) == everything(apart)


def one_by_one(
    database: Database, questions: list[Question[object]], now: datetime
) -> list[object]:
    order = sorted(range(len(questions)), key=lambda at: PLACES.get(type(questions[at]), 2))
    verdicts = {at: alone(database, questions[at], now) for at in order}
    return [verdicts[at] for at in range(len(questions))]


def alone(database: Database, question: Question[object], now: datetime) -> object:
    if not isinstance(question, Finish):
        return answer(question, database.connection, now)
    before = run_in(database, question.run_id)
    verdict = answer(question, database.connection, now)
    after = run_in(database, question.run_id)
    if before is None or before.claim != question.claim:
        assert (verdict, after) == (False, before)
    elif before.status is Status.RUNNING:
        ended = attrs.evolve(
            before, status=question.status, result=question.result, finished_at=now
        )
        assert (verdict, after) == (True, ended)
    else:
        assert (verdict, after) == (before.status is question.status, before)
    return verdict


def run_in(database: Database, run_id: str) -> Run | None:
    run = answer(GetRun(run_id), database.connection, START)
    assert run is None or isinstance(run, Run)
    return run


def everything(database: Database) -> list[tuple[object, ...]]:
    runs, past = "SELECT * FROM runs JOIN payloads USING (seq)", "SELECT * FROM past_attempts"
    return [row for sql in (runs, past) for row in database.connection.execute(sql)]


def test_a_crowd_is_stored_in_the_order_in_which_it_came() -> None:
    """More runs than a statement holds, each with its own payload."""
    questions = [
        attrs.evolve(enqueue(), payload=f'"{number}"') for number in range(2 * ROWS_MAX + 3)
    ]
    with closing(Database.open(None)) as database:
        with database.transaction():
            answer_all(database, questions, START)
        rows = stored(database)
    assert [(row[1], row[4]) for row in rows] == [(q.run_id, q.payload) for q in questions]
