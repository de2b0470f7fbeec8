"""A group of questions comes to what the same questions come to one by one."""

from contextlib import closing
from datetime import timedelta

import attrs
from hypothesis import given
from hypothesis import strategies as st

from service.messages import Delivery, Enqueue
from service.storage.database import Database
from service.storage.group import answer_all
from service.storage.queries import answer
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
