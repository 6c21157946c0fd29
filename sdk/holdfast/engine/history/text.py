"""How descriptions say times, sizes and lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta


def size(bytes_: int) -> str:
    """`12 bytes`, `3.4 kB`, `5.2 MB`."""
    if bytes_ < 1000:
        return f"{bytes_} bytes"
    return f"{bytes_ / 1e3:.1f} kB" if bytes_ < 1_000_000 else f"{bytes_ / 1e6:.1f} MB"


def moment(time: datetime) -> str:
    """`2026-11-20 14:28:27 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def span(duration: timedelta) -> str:
    """`12 s`, `3 min`, `2 h`."""
    seconds = max(duration.total_seconds(), 0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def listing(parts: Sequence[str], shown: int = 3) -> str:
    """`a; b; c; and 4 more`."""
    more = len(parts) - shown
    return "; ".join([*parts[:shown], *([f"and {more} more"] if more > 0 else [])])


def shortened(text: str, limit: int = 300) -> str:
    """The first line of a text, cut to a length that fits a sentence."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
