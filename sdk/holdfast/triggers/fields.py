"""The fields of cron expressions and calendars: which seconds, hours, days and so on are meant. Pure."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from holdfast.errors import InvalidInput

_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))}
_PART: Final = re.compile(r"(?:(\*|\?)|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?", re.ASCII)
_CYCLE: Final = range(2000, 2400)
"""After so many years weekdays and leap years come again."""


@dataclass(frozen=True)
class Span:
    """From `start` to `end`, each `step`th."""

    start: int
    end: int
    step: int = 1

    @property
    def values(self) -> range:
        """The numbers that are meant."""
        return range(self.start, self.end + 1, self.step)

    def __str__(self) -> str:
        text = str(self.start) if self.start == self.end else f"{self.start}-{self.end}"
        return text if self.step == 1 else f"{text}/{self.step}"


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field: its name, its smallest and largest number, and names for numbers."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict[str, int])


SECOND: Final = Field(name="second", low=0, high=59)
MINUTE: Final = Field(name="minute", low=0, high=59)
HOUR: Final = Field(name="hour", low=0, high=23)
DAY_OF_MONTH: Final = Field(name="day of month", low=1, high=31)
MONTH: Final = Field(name="month", low=1, high=12, names=_MONTHS)
DAY_OF_WEEK: Final = Field(name="day of week", low=0, high=7, names=_DAYS)
YEAR: Final = Field(name="year", low=2000, high=2100)
FIELDS: Final = (SECOND, MINUTE, HOUR, DAY_OF_MONTH, MONTH, YEAR, DAY_OF_WEEK)


def parse_field(text: str, field: Field, where: str) -> tuple[Span, ...]:
    """What one field means: `*`, `5`, `1-5`, `*/15`, `MON-FRI`, or several of them with commas.

    Args:
        text: The field.
        field: Which one it is.
        where: What it is a part of, for messages.

    Raises:
        InvalidInput: It cannot be read, or is out of range; names the part.
    """
    return tuple(span for part in text.split(",") for span in _spans(part, field, where))


def numbers(values: Sequence[int], field: Field, where: str) -> tuple[Span, ...]:
    """The spans of a list of numbers.

    Raises:
        InvalidInput: One is out of range, or there is none.
    """
    if not values:
        raise InvalidInput(f"{where}: the {field.name} is empty, so it never comes")
    return tuple(span for value in values for span in _spans(str(value), field, where))


def check_days(days: Mapping[str, Sequence[Span]], where: str) -> None:
    """Refuse days that never come, such as 30 February.

    Args:
        days: The spans of `day of month`, `month`, `year` and `day of week`.
        where: What they are a part of, for messages.

    Raises:
        InvalidInput: There is no such day.
    """
    chosen = {
        name: sorted({number for span in spans for number in span.values}) for name, spans in days.items()
    }
    months, in_month, weekdays = chosen["month"], chosen["day of month"], set(chosen["day of week"])
    years: Sequence[int] = chosen["year"] or _CYCLE
    if not chosen["year"] and in_month[0] <= 28:
        return
    for year in years:
        for month in months:
            last = calendar.monthrange(year, month)[1]
            if any(date(year, month, day).isoweekday() % 7 in weekdays for day in in_month if day <= last):
                return
    named = f"day {_joined(in_month)} of {' or '.join(calendar.month_name[month] for month in months)}"
    if len(weekdays) < 7:
        named += f" on {' or '.join(calendar.day_name[(day + 6) % 7] for day in sorted(weekdays))}"
    raise InvalidInput(f"{where}: {named}{_in_years(chosen['year'])} never comes")


def _spans(part: str, field: Field, where: str) -> list[Span]:
    found = _PART.fullmatch(part)
    if found is None:
        hint = "; L, W and # are not known to Temporal" if re.search(r"[LW#]", part) else ""
        raise InvalidInput(f"{where}: {part!r} is no {field.name}: write *, 5, 1-5 or */15{hint}")
    star, first, last, step = found.groups()
    each = int(step) if step is not None else 1
    if each < 1 or each > field.high:
        raise InvalidInput(f"{where}: {part!r} steps by {step} in the {field.name}; use 1 to {field.high}")
    if star is not None:
        high = 6 if field is DAY_OF_WEEK else field.high
        return [] if field is YEAR and each == 1 else [Span(field.low, high, each)]
    start = _number(first, field, part, where)
    if last is None:
        end = start if step is None else (6 if field is DAY_OF_WEEK else field.high)
    else:
        end = _number(last, field, part, where)
    if field is DAY_OF_WEEK and start == 7:
        start = end = 0
    if end < start:
        raise InvalidInput(f"{where}: {part!r} ends before it begins; write two, as in 'FRI-SAT,SUN-MON'")
    if field is DAY_OF_WEEK and end == 7:  # Sunday, which is also 0
        days = [day % 7 for day in range(start, 8, each)]
        return [Span(day, day) for day in sorted(days)]
    return [Span(start, end, each)]


def _number(text: str, field: Field, part: str, where: str) -> int:
    if text.upper() in field.names:
        return field.names[text.upper()]
    if not text.isdigit():
        named = f" or {', '.join(field.names)}" if field.names else ""
        raise InvalidInput(f"{where}: {part!r} is no {field.name}: use {field.low} to {field.high}{named}")
    if len(text) > 4 or not field.low <= int(text) <= field.high:
        raise InvalidInput(f"{where}: {part!r} is no {field.name}: use {field.low} to {field.high}")
    return int(text)


def _joined(found: Sequence[int]) -> str:
    return " or ".join(map(str, found[:3])) + (" or ..." if len(found) > 3 else "")


def _in_years(years: Sequence[int]) -> str:
    return f" in {_joined(years)}" if years else ""
