"""Sums over runs: from the figures by day and hour where a filter allows it, and from rows at the ends of a time range
and for all other filters. Both give the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, Protocol, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Connection, case, cast, false, func, select

from holdfast.store.columns import bounded, microseconds
from holdfast.store.database import Database
from holdfast.store.filters import RunFilter, filtered, wanted_states
from holdfast.store.rollup import DAY, HOUR
from holdfast.store.schema import KEY_BITS, rollups, runs

Dimension: TypeAlias = Literal[
    "workflow", "version", "queue", "step", "state", "error_type", "hour", "day", "week_hour"
]


@dataclass(kw_only=True)
class Sums:
    """What is added up. Spans are in microseconds."""

    count: int = 0
    retried: int = 0
    """How many were tried more than once; of runs, those with such a step."""

    retries: int = 0
    failed_steps: int = 0
    closed: int = 0
    """How many have a duration: all that have ended, but for steps that were never started."""

    duration_us: int = 0
    queue_wait_us: int = 0
    tokens: int = 0
    cost_micros: int = 0

    def add(self, values: Iterable[int | None]) -> None:
        """Add values, in the order of the fields."""
        for name, value in zip(_NAMES, values, strict=True):
            if value:
                setattr(self, name, getattr(self, name) + int(value))

    @property
    def values(self) -> list[int]:
        """In the order of the fields."""
        return [getattr(self, name) for name in _NAMES]


_NAMES: Final = [entry.name for entry in fields(Sums)]


@dataclass(frozen=True)
class Ranges:
    """A time range in parts: its whole days, hours before and after them, and the rest. Each from and to."""

    days: Sequence[tuple[int | None, int | None]] = ()
    hours: Sequence[tuple[int | None, int | None]] = ()
    rows: Sequence[tuple[int | None, int | None]] = ()


class Adds(Protocol):
    """Takes sums by group."""

    def add(self, group: tuple[Any, ...], values: Sequence[Any]) -> None:
        """Add values, in the order of the fields of `Sums`."""
        ...


@dataclass(kw_only=True)
class Grouped:
    """Sums by group."""

    groups: dict[tuple[Any, ...], Sums] = field(default_factory=dict[tuple[Any, ...], Sums])

    def add(self, group: tuple[Any, ...], values: Sequence[Any]) -> None:
        """Add values to a group."""
        known = self.groups.get(group)
        if known is None:
            known = self.groups[group] = Sums()
        known.add(values)


def allows_rollups(chosen: RunFilter) -> bool:
    """Whether the figures by hour know all that a filter asks for."""
    asked = (chosen.dag, chosen.closed_from, chosen.closed_to, chosen.fingerprint, chosen.parent)
    return all(value is None for value in asked) and not chosen.queues and not chosen.text


def ranges_of(chosen: RunFilter, *, fine: bool) -> Ranges:
    """The parts of a filter's time range.

    Args:
        chosen: The filter.
        fine: Whether hours are wanted even where there are whole days.
    """
    start = None if chosen.started_from is None else microseconds(chosen.started_from)
    end = None if chosen.started_to is None else microseconds(chosen.started_to)
    rows, whole = inner((start, end), HOUR)
    if whole is None:
        return Ranges(rows=rows)
    if fine:
        return Ranges(rows=rows, hours=[whole])
    hours, days = inner(whole, DAY)
    return Ranges(rows=rows, hours=hours, days=[] if days is None else [days])


def sums_of(
    connection: Connection, database: Database, chosen: RunFilter, by: Sequence[Dimension] = ()
) -> Grouped:
    """Sums over the runs that fit a filter, by group."""
    grouped = Grouped()
    if not allows_rollups(chosen) or "queue" in by:
        _add_rows(connection, database, chosen, by, grouped)
        return grouped
    parts = ranges_of(chosen, fine="hour" in by or "week_hour" in by)
    rolled = [("day", part) for part in parts.days] + [("hour", part) for part in parts.hours]
    for span, part in rolled:
        add_rollups(connection, chosen, by, grouped, span, part)
    for start, end in parts.rows:
        within = keys_between(runs.c.key, start, end)
        _add_rows(connection, database, chosen, by, grouped, within)
    return grouped


def inner(
    part: tuple[int | None, int | None], width: int
) -> tuple[list[tuple[int | None, int | None]], tuple[int | None, int | None] | None]:
    """What sticks out of the whole hours or days of a range, and these; `width` is one of them, in microseconds."""
    start, end = part
    first = None if start is None else -(-start // width) * width
    last = None if end is None else end // width * width
    if first is not None and last is not None and first >= last:
        return [part], None
    outside: list[tuple[int | None, int | None]] = []
    if start is not None and start != first:
        outside.append((start, first))
    if end is not None and end != last:
        outside.append((last, end))
    return outside, (first, last)


def keys_between(key: ColumnElement[int], start: int | None, end: int | None) -> list[ColumnElement[bool]]:
    """The condition that something started in a time range, by its key."""
    found: list[ColumnElement[bool]] = []
    if start is not None:
        found.append(key >= start << KEY_BITS)
    if end is not None:
        found.append(key < end << KEY_BITS)
    return found


def add_rollups(
    connection: Connection,
    chosen: RunFilter,
    by: Sequence[Dimension],
    grouped: Adds,
    span: str,
    part: tuple[int | None, int | None],
    *,
    of_steps: bool = False,
) -> None:
    """Add the figures of a time range, of runs or of steps."""
    wanted = [rollups.c.span == span, (rollups.c.step != "") if of_steps else (rollups.c.step == "")]
    wanted += named(rollups.c, chosen)
    if not of_steps:
        wanted += _outcomes(rollups.c, chosen)
    if part[0] is not None:
        wanted.append(rollups.c.start >= part[0])
    if part[1] is not None:
        wanted.append(rollups.c.start < part[1])
    groups = [_group(name, rollups.c.start, rollups.c) for name in by]
    query = select(*groups, *(func.sum(rollups.c[name]) for name in _NAMES)).where(*wanted)
    for row in connection.execute(query.group_by(*groups) if groups else query):
        if row[len(groups)]:
            grouped.add(tuple(row[: len(groups)]), row[len(groups) :])


def _add_rows(
    connection: Connection,
    database: Database,
    chosen: RunFilter,
    by: Sequence[Dimension],
    grouped: Grouped,
    within: Sequence[ColumnElement[bool]] = (),
) -> None:
    started = cast(runs.c.started, BigInteger)
    groups = [_group(name, started, runs.c) for name in by]
    values = {
        "count": func.count(),
        "retried": func.sum(case((runs.c.retry_count > 0, 1), else_=0)),
        "retries": func.sum(runs.c.retry_count),
        "failed_steps": func.sum(runs.c.failed_step_count),
        "closed": func.count(runs.c.duration_us),
    }
    values |= {
        name: func.sum(runs.c[name]) for name in ("duration_us", "queue_wait_us", "tokens", "cost_micros")
    }
    query = select(*groups, *(values[name] for name in _NAMES)).select_from(runs)
    query = filtered(database, query, chosen).where(*within)
    for row in connection.execute(query.group_by(*groups) if groups else query):
        if row[len(groups)]:
            grouped.add(tuple(row[: len(groups)]), row[len(groups) :])


def _group(name: Dimension, start: ColumnElement[int], columns: Any) -> ColumnElement[Any]:
    if name == "hour":
        return (start - start % HOUR).label(name)
    if name == "day":
        return (start - start % DAY).label(name)
    if name == "week_hour":
        # 1970 began on a Thursday; hours are counted from Monday 00:00 UTC.
        return ((start - start % HOUR) % (7 * DAY)).label(name)
    if name == "error_type":
        return func.coalesce(columns.error_type, "").label(name)
    column: ColumnElement[Any] = columns[name]
    return column.label(name)


def named(columns: Any, chosen: RunFilter) -> list[ColumnElement[bool]]:
    """The conditions of a filter that tables of runs, executions and figures can all fulfil."""
    found: list[ColumnElement[bool]] = []
    for name, values in (("workflow", chosen.workflows), ("version", chosen.versions)):
        if values:
            found.append(columns[name].in_(sorted(map(bounded, values))))
    return found


def _outcomes(columns: Any, chosen: RunFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    states = wanted_states(chosen)
    if states is not None:
        found.append(columns.state.in_(states) if states else false())
    if chosen.error_type is not None:
        found.append(columns.error_type == bounded(chosen.error_type))
    return found
