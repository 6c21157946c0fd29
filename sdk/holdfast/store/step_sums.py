"""Sums over the steps of runs, by workflow, step, state and error type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, func, select

from holdfast.store.columns import microseconds
from holdfast.store.database import Database
from holdfast.store.filters import ALL, RunFilter, filtered, smaller
from holdfast.store.rollup import DAY
from holdfast.store.schema import executions, rollups, runs, steps
from holdfast.store.sums import (
    SUMMED,
    Sums,
    allows_rollups,
    figures_of,
    inner,
    keys_between,
    named,
    text_sample,
    total,
)

SAMPLE_RUNS: Final = 2_000
"""With a filter that the figures do not know, the steps of about so many runs are looked at."""

_GROUPS: Final = ("workflow", "step", "state", "error_type")


@dataclass(kw_only=True)
class StepGroups:
    """Sums by workflow and step, then by state and error type."""

    groups: dict[tuple[str, str], dict[tuple[str, str], Sums]] = field(
        default_factory=dict[tuple[str, str], dict[tuple[str, str], Sums]]
    )
    from_rollups: bool
    sample: int | None = None
    """Of which part of the runs; see `filtered`. `None`: of all."""

    def add(self, group: tuple[Any, ...], values: Sequence[Any]) -> None:
        """Add values to a group."""
        outcomes = self.groups.setdefault((group[0], group[1]), {})
        outcomes.setdefault((group[2], group[3]), Sums()).add(values)

    @property
    def sampled(self) -> float | None:
        """The part of the runs that was looked at; `None` for all of them."""
        return None if self.sample is None else self.sample / ALL


def step_figures(connection: Connection, database: Database, chosen: RunFilter) -> StepGroups:
    """Sums over the steps of the runs that fit a filter."""
    # What became of a run is not known of its steps' figures.
    rolled = (
        allows_rollups(chosen) and not chosen.states and chosen.open is None and chosen.error_type is None
    )
    found = StepGroups(from_rollups=rolled)
    if rolled:
        start_us = None if chosen.started_from is None else microseconds(chosen.started_from)
        end_us = None if chosen.started_to is None else microseconds(chosen.started_to)
        outside, days = inner((start_us, end_us), DAY)
        if days is not None:
            groups = [rollups.c[name] for name in _GROUPS]
            query = select(*groups, *(total(rollups.c[name]) for name in SUMMED)).group_by(*groups)
            _add(connection, query.where(*figures_of(chosen, "day", days, of_steps=True)), found)
        for start, end in outside:
            query = _over_steps().where(
                *keys_between(executions.c.key, start, end), *named(executions.c, chosen)
            )
            _add(connection, query, found)
        return found
    found.sample = text_sample(connection, database, chosen)
    query = filtered(database, select(func.count()).select_from(runs), chosen, sample=found.sample)
    count = connection.execute(query).scalar_one()
    if count > SAMPLE_RUNS:
        found.sample = smaller(found.sample, SAMPLE_RUNS, count)
    _add(connection, _over_steps().where(executions.c.run_key.in_(_runs(database, chosen, found))), found)
    return found


def chosen_steps(
    database: Database, chosen: RunFilter, figures: StepGroups, *columns: Any
) -> Select[*tuple[Any, ...]]:
    """A query over the steps that `step_figures` looked at."""
    query: Select[*tuple[Any, ...]] = select(*columns).join_from(executions, steps, _OF)
    if figures.from_rollups:
        first, last = chosen.started_from, chosen.started_to
        if first is not None:
            query = query.where(executions.c.started >= first)
        if last is not None:
            query = query.where(executions.c.started < last)
        return query.where(*named(executions.c, chosen))
    return query.where(executions.c.run_key.in_(_runs(database, chosen, figures)))


_FAILED: Final[ColumnElement[bool]] = (steps.c.state == "failed") | (
    (steps.c.state == "compensated") & steps.c.error_type.is_not(None)
)
_OF: Final[ColumnElement[bool]] = (steps.c.run_key == executions.c.run_key) & (
    steps.c.execution_key == executions.c.key
)


def _runs(database: Database, chosen: RunFilter, figures: StepGroups) -> Select[*tuple[Any, ...]]:
    return filtered(database, select(runs.c.key), chosen, sample=figures.sample)


def _over_steps() -> Select[*tuple[Any, ...]]:
    groups = (executions.c.workflow, steps.c.name, steps.c.state, func.coalesce(steps.c.error_type, ""))
    sums = (
        func.count(),
        func.count().filter(steps.c.attempt > 1),
        total(steps.c.attempt - 1),
        func.count().filter(_FAILED),
        func.count(steps.c.duration_us),
        *(total(steps.c[name]) for name in ("duration_us", "tokens", "cost_micros")),
    )
    return select(*groups, *sums).join_from(executions, steps, _OF).group_by(*groups)


def _add(connection: Connection, query: Select[*tuple[Any, ...]], found: StepGroups) -> None:
    for row in connection.execute(query):
        found.add(tuple(row[: len(_GROUPS)]), row[len(_GROUPS) :])
