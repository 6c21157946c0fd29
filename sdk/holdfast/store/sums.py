"""Sums over runs: from the figures by day and hour where a filter allows it, and from rows at the ends of a time range
and for all other filters. Both give the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, cast, false, func, null, select

from holdfast.states import RunState
from holdfast.store.columns import bounded, microseconds
from holdfast.store.database import Database
from holdfast.store.filters import RunFilter, filtered, looks_at_all, smaller, wanted_states
from holdfast.store.rollup import DAY, HOUR
from holdfast.store.schema import KEY_BITS, rollups, runs

SEARCHED_RUNS: Final = 100_000
"""A text that no index finds is looked for in so many runs at most."""

Dimension: TypeAlias = Literal["workflow", "version", "queue", "error_type", "hour", "day"]


@dataclass
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
    tokens: int = 0
    cost_micros: int = 0

    def add(self, values: Iterable[int | None]) -> None:
        """Add values, in the order of the fields."""
        for name, value in zip(SUMMED, values, strict=True):
            if value:
                setattr(self, name, getattr(self, name) + int(value))

    @property
    def values(self) -> list[int]:
        """In the order of the fields."""
        return [getattr(self, name) for name in SUMMED]


SUMMED: Final = tuple(entry.name for entry in fields(Sums))


@dataclass
class RunSums(Sums):
    """Sums over runs, and how many are in which state; states that none has are left out."""

    by_state: dict[str, int] = field(default_factory=dict[str, int], kw_only=True)

    def include(self, other: RunSums) -> None:
        """Add other sums."""
        self.add(other.values)
        for state, count in other.by_state.items():
            self.by_state[state] = self.by_state.get(state, 0) + count


@dataclass(frozen=True)
class Ranges:
    """A time range in parts: its whole days, hours before and after them, and the rest. Each from and to."""

    days: Sequence[tuple[int | None, int | None]] = ()
    hours: Sequence[tuple[int | None, int | None]] = ()
    rows: Sequence[tuple[int | None, int | None]] = ()


def allows_rollups(chosen: RunFilter) -> bool:
    """Whether the figures by hour know all that a filter asks for."""
    asked = (chosen.dag, chosen.closed_from, chosen.closed_to, chosen.fingerprint, chosen.parent)
    return all(value is None for value in asked) and not chosen.queues and not chosen.text


def text_sample(connection: Connection, database: Database, chosen: RunFilter) -> int | None:
    """Of which part of the runs a filter's text is looked at; `None` for all: where an index finds it, or up to
    100,000 runs."""
    if not looks_at_all(database, chosen):
        return None
    query = filtered(database, select(func.count()).select_from(runs), replace(chosen, text=None))
    count = connection.execute(query).scalar_one()
    return smaller(None, SEARCHED_RUNS, count) if count > SEARCHED_RUNS else None


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
    connection: Connection,
    database: Database,
    chosen: RunFilter,
    by: Dimension | None = None,
    *,
    sample: int | None = None,
) -> dict[Any, RunSums]:
    """Sums over the runs that fit a filter, by group; by `None` where there is one group of all.

    Args:
        connection: To read with.
        database: Tells how texts are searched.
        chosen: Which runs.
        by: What makes a group. Hours and days are told by their start, in microseconds.
        sample: Of which part of the runs; see `filtered`. Only for filters that the figures do not know.
    """
    found: dict[Any, RunSums] = {}
    if not allows_rollups(chosen) or by == "queue":
        _add(connection, _over_runs(database, chosen, by, sample), chosen, found)
        return found
    parts = ranges_of(chosen, fine=by == "hour")
    for span, ranges in (("day", parts.days), ("hour", parts.hours)):
        for part in ranges:
            _add(connection, _over_rollups(chosen, by, span, part), chosen, found)
    for start, end in parts.rows:
        within = keys_between(runs.c.key, start, end)
        _add(connection, _over_runs(database, chosen, by).where(*within), chosen, found)
    return found


def _add(
    connection: Connection, query: Select[*tuple[Any, ...]], chosen: RunFilter, found: dict[Any, RunSums]
) -> None:
    states, end = _states(chosen), 1 + len(SUMMED)
    for row in connection.execute(query):
        if not row[1]:
            continue
        by_state = {state: int(count) for state, count in zip(states, row[end:], strict=True) if count}
        sums = RunSums(*(int(value or 0) for value in row[1:end]), by_state=by_state)
        known = found.setdefault(row[0], sums)
        if known is not sums:
            known.include(sums)


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


def figures_of(
    chosen: RunFilter, span: str, part: tuple[int | None, int | None], *, of_steps: bool = False
) -> list[ColumnElement[bool]]:
    """The conditions of the figures of a time range, of runs or of steps, by hour or by day."""
    wanted = [rollups.c.span == span, (rollups.c.step != "") if of_steps else (rollups.c.step == "")]
    wanted += named(rollups.c, chosen)
    if part[0] is not None:
        wanted.append(rollups.c.start >= part[0])
    if part[1] is not None:
        wanted.append(rollups.c.start < part[1])
    return wanted


def total(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The sum of a column, as a whole number on every database."""
    return cast(func.sum(column), BigInteger)


def _over_rollups(
    chosen: RunFilter, by: Dimension | None, span: str, part: tuple[int | None, int | None]
) -> Select[*tuple[Any, ...]]:
    # States are counted side by side, not as groups: SQLite would sort all rows for these.
    counts = (
        cast(func.sum(rollups.c.count).filter(rollups.c.state == state), BigInteger)
        for state in _states(chosen)
    )
    # What is kept by the hour is read in the order of `start`, which must stand there as it is to be seen as such.
    group = rollups.c.start if span == by else _group(by, rollups.c.start, rollups.c)
    query = select(group, *(total(rollups.c[name]) for name in SUMMED), *counts)
    query = query.where(*figures_of(chosen, span, part), *_outcomes(rollups.c, chosen))
    return query if by is None else query.group_by(group)


def _over_runs(
    database: Database, chosen: RunFilter, by: Dimension | None, sample: int | None = None
) -> Select[*tuple[Any, ...]]:
    values = {
        "count": func.count(),
        "retried": func.count().filter(runs.c.retry_count > 0),
        "retries": total(runs.c.retry_count),
        "failed_steps": total(runs.c.failed_step_count),
        "closed": func.count(runs.c.duration_us),
    }
    values |= {name: total(runs.c[name]) for name in ("duration_us", "tokens", "cost_micros")}
    counts = (func.count().filter(runs.c.state == state) for state in _states(chosen))
    group = _group(by, cast(runs.c.started, BigInteger), runs.c)
    query = select(group, *(values[name] for name in SUMMED), *counts).select_from(runs)
    query = filtered(database, query, chosen, sample=sample)
    return query if by is None else query.group_by(group)


def _states(chosen: RunFilter) -> Sequence[str]:
    states = wanted_states(chosen)
    return [state.value for state in RunState] if states is None else states


def _group(by: Dimension | None, start: ColumnElement[int], columns: Any) -> ColumnElement[Any]:
    match by:
        case None:
            return null()
        case "hour":
            return (start - start % HOUR).label(by)
        case "day":
            return (start - start % DAY).label(by)
        case "error_type":
            return func.coalesce(columns.error_type, "").label(by)
        case _:
            column: ColumnElement[Any] = columns[by]
            return column


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
