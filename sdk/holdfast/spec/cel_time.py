"""Timestamps and durations: RFC 3339 and CEL's `1h30m`, exact to the nanosecond, without a time zone database."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from holdfast.spec.cel_values import INT_MAX, INT_MIN, NANOS, CelError, Duration, Timestamp

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MIN_SECONDS: Final = -62_135_596_800
MAX_SECONDS: Final = 253_402_300_799
UNITS: Final = {
    "h": 3600 * NANOS,
    "m": 60 * NANOS,
    "s": NANOS,
    "ms": 1_000_000,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ns": 1,
}
DURATION_PART: Final = re.compile(r"([0-9]{1,20})(?:\.([0-9]{0,20}))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
RFC_3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-]\d\d:\d\d))", re.ASCII
)
OFFSET: Final = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)


def timestamp(nanos: int) -> Timestamp:
    """A moment between the years 1 and 9999.

    Raises:
        CelError: It is outside.
    """
    if not MIN_SECONDS <= nanos // NANOS <= MAX_SECONDS:
        raise CelError("the timestamp is outside the years 1 to 9999")
    return Timestamp(nanos)


def duration(nanos: int) -> Duration:
    """A duration of at most 292 years: 64 bits of nanoseconds.

    Raises:
        CelError: It is longer.
    """
    if not INT_MIN <= nanos <= INT_MAX:
        raise CelError("the duration is out of range; it may have at most 292 years")
    return Duration(nanos)


def parse_timestamp(text: str) -> Timestamp:
    """The moment that `2026-01-31T12:00:00Z` names.

    Raises:
        CelError: It is no RFC 3339 timestamp.
    """
    found = RFC_3339.fullmatch(text)
    if found is None:
        raise CelError(f"{text[:60]!r} is no timestamp; write it as '2026-01-31T12:00:00Z'")
    day, clock, fraction, offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}+00:00")
    except ValueError:
        raise CelError(f"{text[:60]!r} is no date and time that exists") from None
    seconds = (moment - EPOCH) // timedelta(seconds=1) - _offset_seconds(offset or "+00:00")
    return timestamp(seconds * NANOS + int((fraction or "0").ljust(9, "0")))


def timestamp_text(moment: Timestamp) -> str:
    """A moment as RFC 3339 in UTC."""
    seconds, nanos = divmod(int(moment), NANOS)
    text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text.rjust(19, '0')}{_fraction(nanos)}Z"


def parse_duration(text: str) -> Duration:
    """The duration that `1h30m`, `-1.5s` or `250ms` names.

    Raises:
        CelError: It is none of that form.
    """
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return Duration(0)
    position = total = 0
    while (found := DURATION_PART.match(rest, position)) is not None:
        whole, fraction, unit = found.groups()
        scale = UNITS[unit]
        total += int(whole) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
        position = found.end()
    if not rest or position < len(rest):
        raise CelError(f"{text[:60]!r} is no duration; write it as '1h30m', '2.5s' or '250ms'")
    return duration(-total if negative else total)


def duration_text(length: Duration) -> str:
    """A duration in seconds: `5400s`, `-1.5s`."""
    seconds, nanos = divmod(abs(int(length)), NANOS)
    return f"{'-' if length < 0 else ''}{seconds}{_fraction(nanos)}s"


def _fraction(nanos: int) -> str:
    return f".{nanos:09d}".rstrip("0") if nanos else ""


def _offset_seconds(zone: str) -> int:
    found = OFFSET.fullmatch(zone)
    if found is None:
        # Named zones change with the machine's database, so that a replay could decide otherwise.
        raise CelError(f"{zone[:60]!r} is no time zone here; use 'UTC' or an offset such as '+02:00'")
    sign, hours, minutes = found.groups()
    if int(hours) > 23 or int(minutes) > 59:
        raise CelError(f"{zone!r} is no offset that exists")
    return (-1 if sign == "-" else 1) * (int(hours) * 3600 + int(minutes) * 60)


def field(moment: Timestamp, name: str, zone: str = "UTC") -> int:
    """A field of the calendar or the clock, such as `getFullYear`; days and months count from 0, except `getDate`.

    Raises:
        CelError: The zone is neither `UTC` nor an offset.
    """
    seconds, nanos = divmod(int(moment), NANOS)
    offset = 0 if zone in ("UTC", "Z") else _offset_seconds(zone)
    try:
        local = EPOCH + timedelta(seconds=seconds + offset)
    except OverflowError:
        raise CelError("the timestamp is outside the years 1 to 9999 in that zone") from None
    match name:
        case "getFullYear":
            return local.year
        case "getMonth":
            return local.month - 1
        case "getDate":
            return local.day
        case "getDayOfMonth":
            return local.day - 1
        case "getDayOfWeek":
            return local.isoweekday() % 7
        case "getDayOfYear":
            return local.timetuple().tm_yday - 1
        case "getHours":
            return local.hour
        case "getMinutes":
            return local.minute
        case "getSeconds":
            return local.second
        case _:
            return nanos // 1_000_000


def duration_field(length: Duration, name: str) -> int:
    """A whole duration in the unit of `getHours`, `getMinutes`, `getSeconds`; `getMilliseconds` is what is left of one
    second."""
    nanos = abs(int(length))
    if name == "getMilliseconds":
        amount = nanos % NANOS // 1_000_000
    else:
        amount = nanos // UNITS[{"getHours": "h", "getMinutes": "m", "getSeconds": "s"}[name]]
    return amount if length >= 0 else -amount
