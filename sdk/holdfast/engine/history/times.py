"""Temporal's times as Python's, all in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

LATEST = datetime.max.replace(tzinfo=UTC)


def when(timestamp: Timestamp) -> datetime:
    """A timestamp as a time; one that is unset or absurd as near as Python has it."""
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return LATEST if timestamp.seconds > 0 else datetime.min.replace(tzinfo=UTC)


def known(timestamp: Timestamp) -> datetime | None:
    """A timestamp as a time, `None` if it is not set."""
    # Go's zero time is the year 1.
    return when(timestamp) if timestamp.seconds > 0 else None


def after(timestamp: Timestamp, duration: Duration) -> datetime:
    """The time a duration later, no later than Python's last day."""
    return later(
        when(timestamp), timedelta(seconds=min(duration.seconds, 10**12), microseconds=duration.nanos // 1000)
    )


def later(time: datetime, duration: timedelta) -> datetime:
    """The time a duration later, no later than Python's last day."""
    try:
        return time + duration
    except OverflowError:
        return LATEST
