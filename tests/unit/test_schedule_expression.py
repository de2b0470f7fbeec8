"""Which cron expressions are accepted, and how the others are refused."""

import pytest

from service.core.expression import ExpressionError, parse


@pytest.mark.parametrize(
    ("place", "low", "high"), [(0, 0, 59), (1, 0, 23), (2, 1, 31), (3, 1, 12), (4, 0, 7)]
)
def test_every_range_and_step_means_what_it_says(place: int, low: int, high: int) -> None:
    """Each range with each step holds the values that counting gives."""
    for first in range(low, high + 1, 3):
        for last in range(first, high + 1, 2):
            for step in range(1, high - low + 2, 4):
                words = ["0", "0", "1", "1", "0"]
                words[place] = f"{first}-{last}/{step}"
                expression = parse(" ".join(words))
                held = (
                    expression.minutes,
                    expression.hours,
                    expression.days,
                    expression.months,
                    expression.weekdays,
                )[place]
                wanted = {
                    value % 7 if place == 4 else value for value in range(first, last + 1, step)
                }
                assert set(held) == wanted, words


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        (" @Daily ", "0 0 * * *"),
        ("5-5 3-3 * * *", "5 3 * * *"),
        ("5-5/2 3 * * *", "5 3 * * *"),
        ("50/5 20/2 * * *", "50,55 20,22 * * *"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * sun,MON-wed", "0 0 * * 0-3"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 1 jan-MAR/2,Dec *", "0 0 1 1,3,12 *"),
        ("0\t0  * * *", "0 0 * * *"),
        ("0 30 2 * * *", "30 2 * * *"),
        ("1,1,1 2 * * *", "1 2 * * *"),
    ],
)
def test_two_ways_to_say_the_same(text: str, same: str) -> None:
    """Names, aliases, case, white space and equal ranges change nothing."""
    assert parse(text) == parse(same)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 25 * * *", "field 2 (hour): '25' is not in 0-23"),
        ("0 0 25 * * *", "field 3 (hour): '25' is not in 0-23"),
        ("60 * * * *", "field 1 (minute): '60' is not in 0-59"),
        ("60 * * * * *", "field 1 (second): '60' is not in 0-59"),
        ("0 0 0 * *", "field 3 (day of month): '0' is not in 1-31"),
        ("0 0 1 13 *", "field 4 (month): '13' is not in 1-12 or jan-dec"),
        ("0 0 * * 8", "field 5 (day of week): '8' is not in 0-7 or sun-sat"),
        ("0 0 * * monday", "field 5 (day of week): 'monday' is not in 0-7 or sun-sat"),
        ("0 0 L * *", "field 3 (day of month): 'L' is not in 1-31"),
        ("0 0 15W * *", "field 3 (day of month): '15W' is not in 1-31"),
        ("H * * * *", "field 1 (minute): 'H' is not in 0-59"),
        ("R * * * *", "field 1 (minute): 'R' is not in 0-59"),
        ("0 0 ? * *", "field 3 (day of month): '?' is not understood"),
        ("0 0 * * 1#2", "field 5 (day of week): '1#2' is not understood"),
        ("R(0-5) * * * *", "field 1 (minute): 'R(0-5)' is not understood"),
        ("-5 * * * *", "field 1 (minute): '-5' is not understood"),
        ("1,,2 * * * *", "field 1 (minute): '' is not understood"),
        ("1, * * * *", "field 1 (minute): '' is not understood"),
        ("\u0663 * * * *", "field 1 (minute): '\u0663' is not understood"),
        ("*/\u0663 * * * *", "field 1 (minute): '*/\u0663' is not understood"),
        ("10-5 * * * *", "field 1 (minute): the range of '10-5' runs backwards"),
        ("0 0 * * fri-sun", "field 5 (day of week): the range of 'fri-sun' runs backwards"),
        ("*/0 * * * *", "field 1 (minute): the step of '*/0' is not in 1-60"),
        ("*/90 * * * *", "field 1 (minute): the step of '*/90' is not in 1-60"),
        ("0 0 31 2 *", "field 3 (day of month): '31' never comes, for the months '2' have at most"),
        ("0 0 0 31 4,6 *", "field 4 (day of month): '31' never comes, for the months '4,6'"),
        ("0 0 30 feb */2", "field 3 (day of month): '30' never comes"),
        ("", "'' has 0 fields"),
        ("* * * *", "'* * * *' has 4 fields; accepted are 5 (minute, hour"),
        ("0 * * * * * 2026", "has 7 fields"),
        ("@reboot", "'@reboot' is not one of @hourly, @daily"),
        ("@daily 5", "'@daily 5' is not one of @hourly, @daily"),
        ("0 " * 200, "has 400 characters, at most 256 are accepted"),
    ],
)
def test_a_refusal_points_at_the_place(text: str, message: str) -> None:
    """What is not Vixie's is refused, with the field, what it held and what it may hold."""
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_a_day_that_only_one_field_excludes_is_accepted() -> None:
    """31 February on Mondays means Mondays in February, by Vixie's rule."""
    assert parse("0 0 31 2 1").either_day
    assert not parse("0 0 */2 * 1").either_day
    assert not parse("0 0 1 * */2").either_day


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("30 2 * * *", True),
        ("0,30 1-3 * * *", True),
        ("* 2 * * *", False),
        ("*/10 2 * * *", False),
        ("30 */2 * * *", False),
        ("0-59 2 * * *", True),
        ("* 30 2 * * *", True),
        ("@hourly", False),
        ("@daily", True),
    ],
)
def test_a_star_in_minute_or_hour_follows_real_time(text: str, fixed: bool) -> None:  # noqa: FBT001 - an expected value
    """Only the first character of the minute and the hour decides, as in Debian cron."""
    assert parse(text).fixed_time is fixed
