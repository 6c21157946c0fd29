"""Quantiles of durations and queue waits, by the cheapest way that is right for the filter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, func, select

from holdfast.store.columns import microseconds
from holdfast.store.database import Database
from holdfast.store.figures import How
from holdfast.store.filters import RunFilter, filtered
from holdfast.store.quantiles import bucket, from_buckets, from_values
from holdfast.store.rollup import BLOCK
from holdfast.store.schema import KEY_BITS, executions, histograms, runs, steps
from holdfast.store.step_sums import StepGroups, chosen_steps
from holdfast.store.sums import allows_rollups, inner, keys_between, named

Measure: TypeAlias = Literal["duration", "queue_wait"]

EXACT_ROWS: Final = 10_000
SAMPLE_ROWS: Final = 100_000
SAMPLE_STEPS: Final = 20_000
_KEYS_AT_A_TIME: Final = 500
_WANTED: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """In microseconds; `None` where there is nothing."""

    p50: int | None = None
    p95: int | None = None
    p99: int | None = None
    how: How = "exact"


def run_quantiles(
    connection: Connection, database: Database, chosen: RunFilter, measure: Measure, count: int
) -> Quantiles:
    """Of runs.

    Args:
        connection: To read with.
        database: Tells how texts are searched.
        chosen: Which runs.
        measure: Of what.
        count: How many runs there are. Fewer rows mean that some were pruned, and the figures by day are asked.
    """
    column = runs.c[f"{measure}_us"]
    query = filtered(database, select(column).select_from(runs), chosen)
    if count <= EXACT_ROWS:
        values = list(connection.execute(query).scalars())
        if len(values) == count:
            return _told(_of_values(values), "exact")
    if allows_rollups(chosen) and not chosen.states and chosen.open is None and chosen.error_type is None:
        found = _run_buckets(connection, chosen, measure)
        return _told(from_buckets(found, _WANTED), "within 2 %")
    if count > SAMPLE_ROWS:
        query = query.where(_sample(count))
    values = list(connection.execute(query).scalars())
    return _told(_of_values(values), "exact" if len(values) == count else "sampled")


def step_quantiles(
    connection: Connection, database: Database, chosen: RunFilter, figures: StepGroups
) -> dict[tuple[str, str], tuple[Quantiles, Quantiles]]:
    """Of the steps in `figures`, by workflow and step: of durations, and of queue waits."""
    took: dict[tuple[str, str], list[int | None]] = {}
    waited: dict[tuple[str, str], list[int | None]] = {}
    names = (executions.c.workflow, steps.c.name, steps.c.duration_us, steps.c.queue_wait_us)
    total = sum(sums.count for outcomes in figures.groups.values() for sums in outcomes.values())
    queries = [chosen_steps(database, chosen, figures, *names)]
    if figures.sampled is None and total > SAMPLE_STEPS:
        bits = max(round(SAMPLE_STEPS / total * (1 << KEY_BITS)), 1)
        keys = _sampled_executions(connection, chosen, bits)
        # Given by their keys, so that no database takes them for many and reads all steps.
        queries = [
            queries[0].where(executions.c.key.in_(keys[start : start + _KEYS_AT_A_TIME]))
            for start in range(0, len(keys), _KEYS_AT_A_TIME)
        ]
    for query in queries:
        for workflow, step, duration, wait in connection.execute(query):
            took.setdefault((workflow, step), []).append(duration)
            waited.setdefault((workflow, step), []).append(wait)
    found = sum(map(len, took.values()))
    how: How = "exact" if figures.sampled is None and found == total else "sampled"
    return {
        place: (_told(_of_values(took.get(place, [])), how), _told(_of_values(waited.get(place, [])), how))
        for place in figures.groups
    }


def _sampled_executions(connection: Connection, chosen: RunFilter, bits: int) -> list[int]:
    query = select(executions.c.key).where(_low_bits(executions.c.key) < bits, *named(executions.c, chosen))
    start = None if chosen.started_from is None else microseconds(chosen.started_from)
    end = None if chosen.started_to is None else microseconds(chosen.started_to)
    return list(connection.execute(query.where(*keys_between(executions.c.key, start, end))).scalars())


def _of_values(values: Iterable[int | None]) -> list[int | None]:
    return from_values([value for value in values if value is not None], _WANTED)


def _told(values: Iterable[int | None], how: How) -> Quantiles:
    p50, p95, p99 = values
    return Quantiles(p50=p50, p95=p95, p99=p99, how=how)


def _sample(total: int) -> Any:
    """Of so many runs, a part that is large enough: the last bits of a key are those of a hash."""
    return _low_bits(runs.c.key) < max((SAMPLE_ROWS << KEY_BITS) // total, 1)


def _low_bits(key: ColumnElement[int]) -> ColumnElement[int]:
    return key % (1 << KEY_BITS)


def _run_buckets(connection: Connection, chosen: RunFilter, measure: Measure) -> Mapping[int, int]:
    found: dict[int, int] = {}
    outside, query = _blocks(chosen, histograms.c.bucket)
    query = query.where(histograms.c.measure == measure)
    for number, count in connection.execute(query.group_by(histograms.c.bucket)):
        found[number] = int(count)
    column = runs.c[f"{measure}_us"]
    for start, end in outside:
        rows = select(column, func.count()).where(column.is_not(None), *keys_between(runs.c.key, start, end))
        for value, count in connection.execute(rows.where(*named(runs.c, chosen)).group_by(column)):
            found[bucket(value)] = found.get(bucket(value), 0) + count
    return found


def _blocks(
    chosen: RunFilter, *columns: Any
) -> tuple[list[tuple[int | None, int | None]], Select[*tuple[Any, ...]]]:
    """The parts of a filter's time range that are no whole blocks of days, and a query over those that are."""
    start = None if chosen.started_from is None else microseconds(chosen.started_from)
    end = None if chosen.started_to is None else microseconds(chosen.started_to)
    outside, blocks = inner((start, end), BLOCK)
    query: Select[*tuple[Any, ...]] = select(*columns, func.sum(histograms.c.count)).where(
        *named(histograms.c, chosen)
    )
    first, last = blocks or (0, 0)
    if first is not None:
        query = query.where(histograms.c.start >= first)
    if last is not None:
        query = query.where(histograms.c.start < last)
    return outside, query
