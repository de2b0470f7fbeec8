"""The laws of whose turn it is, for any lines and any number of runners."""

from collections import Counter
from collections.abc import Sequence

import attrs
from hypothesis import given
from hypothesis import strategies as st

from service.core.turns import Line, foremost, take_turns


@attrs.frozen
class Waiting:
    """A line and the runs that are ready in it."""

    line: Line
    ready: Sequence[int]


@st.composite
def crowds(draw: st.DrawFn) -> list[Waiting]:
    """Up to a dozen jobs; a run's number tells its job and its place in the line."""
    numbers = st.integers(0, 5)
    return [
        Waiting(
            Line(
                job_id=f"job {index}",
                priority=draw(st.integers(-2, 2)),
                running=draw(numbers),
                last_turn=draw(numbers),
                due_at=draw(numbers),
                room=draw(st.integers(1, 9)),
            ),
            range(index * 100, index * 100 + draw(numbers)),
        )
        for index in range(draw(st.integers(0, 12)))
    ]


def turns(crowd: Sequence[Waiting], slots: int) -> list[int]:
    return take_turns(
        [waiting.line for waiting in crowd],
        {waiting.line.job_id: waiting.ready for waiting in crowd},
        slots,
    )


@given(crowds(), st.integers(0, 40))
def test_every_runner_gets_a_run_while_there_is_one(crowd: list[Waiting], slots: int) -> None:
    """No run twice, each job's in its order, and no runner idle beside a run that is ready."""
    taken = turns(crowd, slots)
    assert len(taken) == min(slots, sum(len(waiting.ready) for waiting in crowd))
    for waiting in crowd:
        own = [run for run in taken if run in waiting.ready]
        assert own == list(waiting.ready[: len(own)])


@given(crowds(), st.integers(0, 40))
def test_no_run_begins_before_one_of_a_higher_priority(crowd: list[Waiting], slots: int) -> None:
    """What is left over is of no higher priority than anything that was taken."""
    taken = set(turns(crowd, slots))
    begun = [waiting.line.priority for waiting in crowd if taken & set(waiting.ready)]
    left = [waiting.line.priority for waiting in crowd if set(waiting.ready) - taken]
    assert not begun or not left or max(left) <= min(begun)


@given(crowds(), st.integers(0, 40))
def test_equals_are_served_evenly(crowd: list[Waiting], slots: int) -> None:
    """A job that got a run has at most one more at work than any equal that still waits."""
    taken = turns(crowd, slots)
    got = Counter(run // 100 for run in taken)
    for index, waiting in enumerate(crowd):
        for other, rival in enumerate(crowd):
            waits = got[other] < len(rival.ready)
            if got[index] and waits and waiting.line.priority == rival.line.priority:
                at_work = waiting.line.running + got[index]
                assert at_work <= rival.line.running + got[other] + 1


def test_a_round_keeps_its_order() -> None:
    """Who was served longest ago begins every round, also when several runners are free."""
    crowd = [
        Waiting(
            Line(job_id=name, priority=0, running=0, last_turn=last_turn, due_at=0, room=3), ready
        )
        for name, last_turn, ready in (("a", 9, [1, 2]), ("b", 5, [11, 12]), ("c", 7, [21, 22]))
    ]
    assert turns(crowd, 6) == [11, 21, 1, 12, 22, 2]


@given(crowds(), st.integers(1, 12))
def test_looking_at_the_foremost_is_enough(crowd: list[Waiting], slots: int) -> None:
    """Lines that are too far behind for the runners that are free change nothing."""
    waiting = {item.line.job_id: item for item in crowd if item.ready}
    lines = foremost([item.line for item in waiting.values()], slots)
    assert turns([waiting[line.job_id] for line in lines], slots) == turns(
        list(waiting.values()), slots
    )
