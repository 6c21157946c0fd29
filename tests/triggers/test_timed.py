"""What cron expressions, calendars and intervals mean, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.errors import InvalidInput
from holdfast.triggers import Calendar, Cron, Interval
from holdfast.triggers.timed import calendar_text


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("0 9 * * 1-5", "0 0 9 1-31 1-12 1-5 *"),
        ("*/15 * * * *", "0 0-59/15 0-23 1-31 1-12 0-6 *"),
        ("0 0 * * FRI,sun", "0 0 0 1-31 1-12 5,0 *"),
        ("0 0 * * 7", "0 0 0 1-31 1-12 0 *"),
        ("0 0 * * 5-7", "0 0 0 1-31 1-12 0,5,6 *"),
        ("0 0 1 jan ? 2030", "0 0 0 1 1 0-6 2030"),
        ("30 5/20 * * * * *", "30 5-59/20 0-23 1-31 1-12 0-6 *"),
        ("0 0 29 2 1", "0 0 0 29 2 1 *"),
        ("@daily", "0 0 0 1-31 1-12 0-6 *"),
    ],
)
def test_cron_is_read_as_cron(expression: str, meant: str) -> None:
    assert calendar_text(Cron(expression).calendar) == meant


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("61 * * * *", "'61' is no minute: use 0 to 59"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 0 1 FOO *", "'FOO' is no month: use 1 to 12 or JAN"),
        ("0 0 * * 8", "'8' is no day of week"),
        ("*/0 * * * *", "steps by 0"),
        ("5-1 * * * *", "ends before it begins"),
        ("0 0 L * *", "'L' is no day of month"),
        ("0 0 5#2 * *", "not known to Temporal"),
        ("* * * *", "has 4 fields"),
        ("", "has 0 fields"),
        ("@every 5m", "use Interval"),
        ("CRON_TZ=UTC 0 0 * * *", "timezone="),
        ("0 0 30 2 *", "day 30 of February never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 29 2 * 2027", "in 2027 never comes"),
        ("٣ * * * *", "'٣' is no minute"),
        ("1\x00 * * * *", "no minute"),
        ("*/" + "9" * 5000 + " * * * *", "no minute"),
        ("9" * 5000 + " * * * *", "no minute"),
    ],
)
def test_a_wrong_cron_names_the_part(expression: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Cron(expression)
    assert told in caught.value.message


@pytest.mark.parametrize("name", ["Europe/Berln", "", "../../etc/passwd", "a\0b", "Europe", 5, "x" * 5000])
def test_a_wrong_time_zone_is_told(name: Any) -> None:
    with pytest.raises(InvalidInput, match="timezone="):
        Cron("0 0 * * *", timezone=name)


def test_calendars_take_numbers_lists_and_text() -> None:
    found = Calendar(day_of_month=1, hour=[9, 17], day_of_week="MON-FRI", timezone="Asia/Tokyo")
    assert calendar_text(found.calendar) == "0 0 9,17 1 1-12 1-5 *"
    with pytest.raises(InvalidInput, match="day 31 of June never comes"):
        Calendar(day_of_month=31, month="JUN")


@pytest.mark.parametrize("hour", [24, -1, True, 1.5, [], [1, "x"], "", None])
def test_what_is_no_hour_is_refused(hour: Any) -> None:
    with pytest.raises(InvalidInput, match="hour"):
        Calendar(hour=hour)


@pytest.mark.parametrize(
    ("every", "offset"),
    [
        (timedelta(0), timedelta(0)),
        (timedelta(seconds=-1), timedelta(0)),
        (timedelta(seconds=1.5), timedelta(0)),
        (60, timedelta(0)),
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(hours=1), timedelta(microseconds=1)),
        (timedelta(hours=1), 5),
    ],
)
def test_intervals_that_cannot_be(every: Any, offset: Any) -> None:
    with pytest.raises(InvalidInput, match=r"every=|offset="):
        Interval(every, offset=offset)


def test_bounds_need_a_time_zone_and_an_order() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="time zone"):
        Cron("0 0 * * *", start=datetime(2026, 1, 1))
    with pytest.raises(InvalidInput, match="is not after"):
        Interval(timedelta(hours=1), start=now, end=now)
    with pytest.raises(InvalidInput, match="jitter="):
        Interval(timedelta(hours=1), jitter=timedelta(0))
