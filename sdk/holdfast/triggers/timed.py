"""Triggers that go by the clock. Temporal's schedules carry them out; here is what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final, cast
from zoneinfo import ZoneInfo, available_timezones

from holdfast.errors import InvalidInput
from holdfast.triggers.fields import (
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    FIELDS,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    YEAR,
    Field,
    Span,
    check_days,
    numbers,
    parse_field,
)

_SHORTHANDS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_CRON_FIELDS: Final = {
    5: (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK),
    6: (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK, YEAR),
    7: (SECOND, MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK, YEAR),
}
_SECOND: Final = timedelta(seconds=1)

Numbers = int | str | Sequence[int]
"""A number, numbers, or text as in a cron field: `"1-5"`, `"*/15"`, `"MON-FRI"`."""


@dataclass(frozen=True, kw_only=True)
class _Timed:
    jitter: timedelta | None = None
    """Each run starts later by a random time up to this. Default: none."""

    start: datetime | None = None
    """The first moment that counts, with a time zone. Default: none."""

    end: datetime | None = None
    """The last moment that counts, with a time zone. Default: none."""

    def _check_bounds(self) -> None:
        if self.jitter is not None:
            _check_duration("jitter", self.jitter)
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment is None:
                continue
            if not isinstance(cast("object", moment), datetime) or moment.tzinfo is None:
                raise InvalidInput(f"{name}={moment!r}: give a datetime with a time zone, such as tzinfo=UTC")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise InvalidInput(f"end={self.end.isoformat()} is not after start={self.start.isoformat()}")


@dataclass(frozen=True)
class Cron(_Timed):
    """At the times of a cron expression: `Cron("0 9 * * 1-5", timezone="Europe/Berlin")`.

    Five fields: minute, hour, day of month, month, day of week (0 and 7 are Sunday); six: a year after them; seven:
    also a second before them. Day of month and day of week must both fit, as in all of Temporal. `@hourly`,
    `@daily`, `@weekly`, `@monthly` and `@yearly` work.

    Raises:
        InvalidInput: It cannot be read; names the part that is wrong. Also for days that never come.
    """

    expression: str
    timezone: str = field(default="UTC", kw_only=True)
    """An IANA name. Times that a clock change leaves out do not come; those that it repeats come once or twice, as the
    server has it."""

    def __post_init__(self) -> None:
        check_timezone(self.timezone)
        self._check_bounds()
        _ = self.calendar

    @property
    def calendar(self) -> Mapping[str, tuple[Span, ...]]:
        """The spans of each field, by its name."""
        if not isinstance(cast("object", self.expression), str):
            raise InvalidInput(f"cron {self.expression!r}: write a text, such as '0 9 * * 1-5'")
        where = f"cron {self.expression[:200]!r}"
        text = self.expression.strip()
        if text.startswith(("TZ=", "CRON_TZ=")):
            raise InvalidInput(f"{where}: give the time zone as timezone=")
        if text.startswith("@"):
            if text not in _SHORTHANDS:
                known = f"use Interval(...) or one of {', '.join(_SHORTHANDS)}"
                raise InvalidInput(f"{where}: {text.split()[0]!r} is not known; {known}")
            text = _SHORTHANDS[text]
        parts = text.split()
        if len(parts) not in _CRON_FIELDS:
            raise InvalidInput(
                f"{where} has {len(parts)} fields; write 5 (minute, hour, day of month, month, day of week), 6 (and a "
                "year) or 7 (a second before them)"
            )
        given = dict(zip((f.name for f in _CRON_FIELDS[len(parts)]), parts, strict=True))
        given = {SECOND.name: "0", YEAR.name: "*", **given}
        return _checked({f.name: parse_field(given[f.name], f, where) for f in FIELDS}, where)

    def __str__(self) -> str:
        return f"cron {self.expression} {self.timezone}"


@dataclass(frozen=True, kw_only=True)
class Calendar(_Timed):
    """On days and at times of the calendar: `Calendar(day_of_month=1, hour=[9, 17], timezone="Asia/Tokyo")`.

    Each field is a number, numbers, or text as in cron (`"MON-FRI"`, `"*/15"`); all of them must fit.

    Raises:
        InvalidInput: A field is out of range, or no day fits.
    """

    second: Numbers = 0
    minute: Numbers = 0
    hour: Numbers = 0
    day_of_month: Numbers = "*"
    month: Numbers = "*"
    year: Numbers = "*"
    day_of_week: Numbers = "*"
    """0 or 7 is Sunday."""

    timezone: str = "UTC"
    """An IANA name."""

    def __post_init__(self) -> None:
        check_timezone(self.timezone)
        self._check_bounds()
        _ = self.calendar

    @property
    def calendar(self) -> Mapping[str, tuple[Span, ...]]:
        """The spans of each field, by its name."""
        found = {f.name: _read(getattr(self, f.name.replace(" ", "_")), f) for f in FIELDS}
        return _checked(found, "calendar")

    def __str__(self) -> str:
        return f"calendar {calendar_text(self.calendar)} {self.timezone}"


@dataclass(frozen=True)
class Interval(_Timed):
    """Again and again after the same time: `Interval(timedelta(minutes=15))`. Counted from 1970 in UTC, so that
    quarters of an hour begin at :00, :15, :30 and :45.

    Raises:
        InvalidInput: It is not a whole number of seconds, or the offset is not shorter than it.
    """

    every: timedelta
    offset: timedelta = field(default=timedelta(0), kw_only=True)
    """How much later each of them is; shorter than `every`."""

    def __post_init__(self) -> None:
        _check_duration("every", self.every)
        if self.every % _SECOND:
            raise InvalidInput(f"every={self.every!r}: Temporal counts in whole seconds")
        if (
            not isinstance(cast("object", self.offset), timedelta)
            or not timedelta(0) <= self.offset < self.every
        ):
            raise InvalidInput(
                f"offset={self.offset!r}: use a timedelta from 0 to less than every={self.every!r}"
            )
        if self.offset % _SECOND:
            raise InvalidInput(f"offset={self.offset!r}: Temporal counts in whole seconds")
        self._check_bounds()

    def __str__(self) -> str:
        return f"every {self.every}" + (f", {self.offset} later" if self.offset else "")


Timed = Cron | Calendar | Interval


def calendar_text(calendar: Mapping[str, Sequence[Span]]) -> str:
    """A calendar as a cron expression of seven fields."""
    return " ".join(",".join(map(str, calendar[f.name])) or "*" for f in _CRON_FIELDS[7])


def check_timezone(name: str) -> None:
    """Refuse what is no time zone.

    Raises:
        InvalidInput: It is none; names one that is spelled alike.
    """
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError, TypeError):
        known = available_timezones()
        if not known and isinstance(cast("object", name), str):
            return  # this machine has no list of them; the server has
        near = get_close_matches(str(name), known, 1)
        hint = f"did you mean {near[0]!r}?" if near else "use an IANA name, such as 'Europe/Berlin'"
        raise InvalidInput(f"timezone={name!r} is not known; {hint}") from None


def _check_duration(name: str, value: object) -> None:
    if not isinstance(value, timedelta):
        raise InvalidInput(f"{name}={value!r}: write timedelta(seconds={value!r})")
    if value < _SECOND:
        raise InvalidInput(f"{name}={value!r}: use a second or more")


def _read(value: Any, field: Field) -> tuple[Span, ...]:
    where = f"calendar, {field.name}"
    if isinstance(value, str):
        return parse_field(value, field, where)
    if isinstance(value, int):
        return numbers([value], field, where)
    if isinstance(value, Sequence):
        return numbers(cast("Sequence[int]", value), field, where)
    raise InvalidInput(f"{where}: {value!r} is no number, list of numbers or text")


def _checked(calendar: Mapping[str, tuple[Span, ...]], where: str) -> Mapping[str, tuple[Span, ...]]:
    check_days({f.name: calendar[f.name] for f in (DAY_OF_MONTH, MONTH, YEAR, DAY_OF_WEEK)}, where)
    return calendar
