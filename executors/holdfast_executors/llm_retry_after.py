"""How long an endpoint asks to wait, in each of the forms in which endpoints say it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = timedelta(minutes=15)
"""Nobody waits longer for one answer, whatever the endpoint says."""

SHORTEST: Final = timedelta(milliseconds=50)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> timedelta | None:
    """What `retry-after-ms` or `Retry-After` (seconds, or an HTTP date) say, between 50 ms and 15 minutes.

    Args:
        headers: Of the answer.
        now: Seconds since the epoch. Default: this moment.

    Returns:
        None if they say nothing, or nothing that makes sense.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name, ""))
        if seconds is not None and seconds >= 0:
            return _clamped(seconds * unit)
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        seconds = date.timestamp() - (time.time() if now is None else now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return _clamped(seconds)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _clamped(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, SHORTEST.total_seconds()), LONGEST.total_seconds()))
