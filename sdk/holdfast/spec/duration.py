"""Durations in documents: ISO 8601 (`PT30S`), short (`30s`, `1h30m`) or a number of seconds; `timedelta` in Python."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

LONGEST: Final = timedelta(days=3660)
"""No duration in a document is longer: ten years."""

_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = r"\d{1,12}(?:\.\d{1,9})?"
_SHORT = re.compile(rf"(?:{_NUMBER}(?:ms|[wdhms]))+", re.ASCII)
_SHORT_PART = re.compile(rf"({_NUMBER})(ms|[wdhms])", re.ASCII)
_ISO = re.compile(
    rf"P(?:({_NUMBER})W)?(?:({_NUMBER})D)?(?:T(?:({_NUMBER})H)?(?:({_NUMBER})M)?(?:({_NUMBER})S)?)?", re.ASCII
)


def parse_duration(value: Any) -> timedelta:
    """The duration that a document states.

    Args:
        value: `PT1H30M`, `1h30m`, `100ms`, a number of seconds, or a `timedelta`.

    Raises:
        ValueError: It is none of these, is not longer than zero, or is longer than ten years.
    """
    if isinstance(value, timedelta):
        found = value
    elif isinstance(value, str):
        found = timedelta(seconds=_seconds(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= LONGEST.total_seconds():
            raise ValueError(f"{value!r} seconds: a duration is at most ten years")
        found = timedelta(seconds=value)
    else:
        raise ValueError(f"{value!r} is no duration: write 30s, 1h30m, PT30S or a number of seconds")
    if found <= timedelta(0):
        raise ValueError(f"{value!r}: a duration is longer than zero")
    if found > LONGEST:
        raise ValueError(f"{value!r}: a duration is at most ten years")
    return found


@lru_cache(maxsize=1024)  # every node of a complete document states the same few
def _seconds(text: str) -> float:
    if _SHORT.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _SHORT_PART.findall(text))
    elif len(text) > 2 and text[-1] != "T" and (match := _ISO.fullmatch(text)):
        seconds = sum(
            float(part) * _UNITS[unit] for part, unit in zip(match.groups(), "wdhms", strict=True) if part
        )
    else:
        raise ValueError(f"{text!r} is no duration: write 30s, 1h30m, PT30S or a number of seconds")
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text!r}: a duration is at most ten years")
    return seconds


def format_duration(value: timedelta) -> str:
    """The one ISO 8601 form of a duration, as documents are written: `PT1H30M`, `P2D`, `PT0.1S`."""
    seconds, micros = value.seconds, value.microseconds
    days = f"{value.days}D" if value.days else ""
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    time = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    if seconds or micros:
        time += f"{seconds}.{micros:06d}".rstrip("0").rstrip(".") + "S"
    return "P" + days + (f"T{time}" if time else "") if days or time else "PT0S"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^(?:{_SHORT.pattern}|{_ISO.pattern})$"},
                {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST.total_seconds()},
            ],
            "examples": ["30s", "1h30m", "PT30S", 30],
        }
    ),
]
"""A duration longer than zero and of at most ten years."""
