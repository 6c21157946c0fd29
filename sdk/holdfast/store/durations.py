"""Quantiles of durations and queue waits, by the cheapest way that is right for the filter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, Select, func, select

from holdfast.store.columns import microseconds
from holdfast.store.database import Database
from holdfast.store.figures import How
from holdfast.store.filters import ALL, RunFilter, filtered, low_bits, smaller
from holdfast.store.quantiles import bucket, from_buckets, from_values
from holdfast.store.rollup import BLOCK
from holdfast.store.schema import executions, histograms, runs, steps
from holdfast.store.step_sums import StepGroups, chosen_steps
from holdfast.store.sums import allows_rollups, inner, keys_between, named

Measure: TypeAlias = Literal["duration", "queue_wait"]
_MEASURES: Final[tuple[Measure, Measure]] = ("duration", "queue_wait")

EXACT_ROWS: Final = 10_000
SAMPLE_ROWS: Final = 20_000
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
    connection: Connection, database: Database, chosen: RunFilter, count: int, sample: int | None = None
) -> tuple[Quantiles, Quantiles]:
    """Of runs: of durations, and of queue waits.

    Args:
        connection: To read with.
        database: Tells how texts are searched.
        chosen: Which runs.
        count: How many runs there are. Fewer rows mean that some were pruned, and the figures by day are asked.
        sample: Of which part of the runs, and `count` with it; see `filtered`.
    """
    columns = [runs.c[f"{measure}_us"] for measure in _MEASURES]
    if count <= EXACT_ROWS:
        query = filtered(database, select(*columns).select_from(runs), chosen, sample=sample)
        rows = connection.execute(query).all()
        if len(rows) == count:
            return _of_rows(rows, "exact" if sample is None else "sampled")
    if allows_rollups(chosen) and not chosen.states and chosen.open is None and chosen.error_type is None:
        took, waited = (
            _told(from_buckets(_run_buckets(connection, chosen, measure), _WANTED), "within 2 %")
            for measure in _MEASURES
        )
        return took, waited
    if count > SAMPLE_ROWS:
        sample = smaller(sample, SAMPLE_ROWS, count)
    query = filtered(database, select(*columns).select_from(runs), chosen, sample=sample)
    rows = connection.execute(query).all()
    return _of_rows(rows, "exact" if sample is None and len(rows) == count else "sampled")


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
        bits = max(round(SAMPLE_STEPS / total * ALL), 1)
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
    query = select(executions.c.key).where(low_bits(executions.c.key) < bits, *named(executions.c, chosen))
    start = None if chosen.started_from is None else microseconds(chosen.started_from)
    end = None if chosen.started_to is None else microseconds(chosen.started_to)
    return list(connection.execute(query.where(*keys_between(executions.c.key, start, end))).scalars())


def _of_rows(rows: Sequence[Sequence[int | None]], how: How) -> tuple[Quantiles, Quantiles]:
    took, waited = (_told(_of_values(row[place] for row in rows), how) for place in range(2))
    return took, waited


def _of_values(values: Iterable[int | None]) -> list[int | None]:
    return from_values([value for value in values if value is not None], _WANTED)


def _told(values: Iterable[int | None], how: How) -> Quantiles:
    p50, p95, p99 = values
    return Quantiles(p50=p50, p95=p95, p99=p99, how=how)


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
