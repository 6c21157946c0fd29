"""Local activities: what their markers say, and how long each took."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from temporalio.api.history.v1 import MarkerRecordedEventAttributes

from holdfast.engine.dag.nodes import NODE
from holdfast.engine.data.values import is_object

MARKER = "core_local_activity"
_OTHERS = "LocalActivity"
"""The marker of Go, PHP and Java, which do not say how long it took."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR = 1e14
"""In milliseconds: the year 5138."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMarker:
    """One marker of a local activity, whichever SDK wrote it."""

    name: str
    activity_id: str
    attempt: int
    scheduled: datetime | None
    """When it was first scheduled, by the worker's clock."""
    completed: datetime | None
    """When it ended, by the clock of the workflow, which stands still between its tasks."""
    backoff: timedelta | None
    """If set, the attempt failed and the next one is due so much later."""


def read_marker(attributes: MarkerRecordedEventAttributes) -> LocalMarker | None:
    """The marker, or `None` if it is of another kind or cannot be read."""
    if attributes.marker_name == MARKER:
        return _of_core(_value(attributes, "data"))
    if attributes.marker_name != _OTHERS:
        return None
    return _of_go(_value(attributes, "data")) if "data" in attributes.details else _of_java(attributes)


def _of_core(data: object) -> LocalMarker | None:
    """As Python, TypeScript, .NET and Ruby write it."""
    if not is_object(data):
        return None
    return LocalMarker(
        name=str(data.get("activity_type", "")).removeprefix(NODE),
        activity_id=str(data.get("activity_id", "")),
        attempt=_count(data.get("attempt")),
        scheduled=_time(data.get("original_schedule_time")),
        completed=_time(data.get("complete_time")),
        backoff=_span(data.get("backoff")),
    )


def _of_go(data: object) -> LocalMarker | None:
    if not is_object(data):
        return None
    backoff = data.get("Backoff")
    return LocalMarker(
        name=str(data.get("ActivityType", "")),
        activity_id=str(data.get("ActivityID", "")),
        attempt=_count(data.get("Attempt")),
        scheduled=None,
        completed=None,
        backoff=_milliseconds(backoff / 1e6) if isinstance(backoff, int) else None,
    )


def _of_java(attributes: MarkerRecordedEventAttributes) -> LocalMarker | None:
    name, activity_id = _value(attributes, "type"), _value(attributes, "activityId")
    if not isinstance(name, str) or not isinstance(activity_id, str):
        return None
    found = _value(attributes, "meta")
    meta = found if is_object(found) else {}
    first = _milliseconds(meta.get("firstSkd"))
    return LocalMarker(
        name=name,
        activity_id=activity_id,
        attempt=_count(meta.get("atpt")),
        scheduled=_EPOCH + first if first else None,
        completed=None,
        backoff=_milliseconds(meta.get("backoff")),
    )


def _value(attributes: MarkerRecordedEventAttributes, key: str) -> object:
    payloads = attributes.details[key].payloads if key in attributes.details else ()
    try:
        return json.loads(payloads[0].data) if payloads else None
    except ValueError:
        return None  # of another converter, or encrypted


def _count(value: object) -> int:
    return value if isinstance(value, int) else 1


def _milliseconds(value: object) -> timedelta | None:
    """A span, `None` if it is none, or nothing."""
    try:
        return timedelta(milliseconds=value) if isinstance(value, int | float) and 0 < value < _FAR else None
    except OverflowError:
        return None


class LocalClock:
    """Computes durations of local activities from their markers.

    A marker gives the end of its activity as workflow time: the start of the workflow task, or the end of the
    activity before it, plus its own running time.
    """

    def __init__(self) -> None:
        self._task_started: datetime | None = None
        self._before: tuple[datetime, datetime, timedelta] | None = None
        """Of the activity before: its base in workflow time, when it was scheduled, how long it took."""

    def task_started(self, at: datetime) -> None:
        """A workflow task started."""
        self._task_started, self._before = at, None

    def duration(self, marker: LocalMarker) -> timedelta:
        """How long the activity of this marker ran. Markers come in the order of their events."""
        if marker.completed is None or marker.scheduled is None:
            return timedelta(0)
        if self._before is None:
            base = self._task_started or marker.scheduled
        else:
            base, scheduled, took = self._before
            if marker.scheduled >= scheduled + took:
                base += took  # It was scheduled after the one before had ended, not beside it.
        # An activity that outlived a workflow task was scheduled before the task that recorded it.
        base = min(base, marker.scheduled) if marker.attempt == 1 else base
        took = max(marker.completed - base, timedelta(0))
        self._before = (base, marker.scheduled, took)
        return took


def _parts(value: object) -> tuple[int, int] | None:
    if not isinstance(value, dict):
        return None
    parts = cast("dict[str, object]", value)
    seconds, nanos = parts.get("seconds", 0), parts.get("nanos", 0)
    return (seconds, nanos) if isinstance(seconds, int) and isinstance(nanos, int) else None


def _time(value: object) -> datetime | None:
    parts = _parts(value)
    if parts is None:
        return None
    try:
        return datetime.fromtimestamp(parts[0], UTC) + timedelta(microseconds=parts[1] // 1000)
    except (ValueError, OverflowError, OSError):
        return None


def _span(value: object) -> timedelta | None:
    parts = _parts(value)
    try:
        return timedelta(seconds=parts[0], microseconds=parts[1] // 1000) if parts else None
    except OverflowError:
        return None
