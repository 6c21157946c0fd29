"""What runs were like: counts, rates, durations, costs; over time, by step, by workflow, against another time.

Counts and sums are exact. Quantiles say how they were found: exact from up to 10,000 runs or 20,000 steps; beyond that
from the figures by day, each within 2 % of the value; of steps, and where a filter does not allow that, from a sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.states import RunState, StepState
from holdfast.store.columns import instant
from holdfast.store.database import Database
from holdfast.store.durations import Quantiles, run_quantiles, step_quantiles
from holdfast.store.figures import By, Comparison, Group, Interval, Point, StepFigures, Summary
from holdfast.store.filters import RunFilter
from holdfast.store.rollup import DAY, HOUR
from holdfast.store.step_sums import step_figures
from holdfast.store.sums import Dimension, Sums, sums_of


def summary(database: Database, chosen: RunFilter) -> Summary:
    """The runs that fit a filter, in one look.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        by_state = {
            group[0]: sums for group, sums in sums_of(connection, database, chosen, ["state"]).groups.items()
        }
        total = _total(by_state.values())
        took = run_quantiles(connection, database, chosen, "duration", total.count)
        waited = run_quantiles(connection, database, chosen, "queue_wait", total.count)
    hours = None
    if chosen.started_from is not None:
        hours = ((chosen.started_to or datetime.now(UTC)) - chosen.started_from) / timedelta(hours=1)
    p50, p95, p99 = _seconds_of(took)
    wait50, wait95, wait99 = _seconds_of(waited)
    return Summary(
        total=total.count,
        by_state=_counts(by_state),
        open=_open(by_state),
        success_rate=_success(by_state),
        retry_rate=_share(total.retried, total.count),
        retries=total.retries,
        failed_steps=total.failed_steps,
        throughput_per_hour=total.closed / hours if hours and hours > 0 else None,
        mean_seconds=_mean(total),
        p50_seconds=p50,
        p95_seconds=p95,
        p99_seconds=p99,
        queue_wait_p50_seconds=wait50,
        queue_wait_p95_seconds=wait95,
        queue_wait_p99_seconds=wait99,
        tokens=total.tokens,
        cost_usd=total.cost_micros / 1e6,
        quantiles=took.how,
        queue_wait_quantiles=waited.how,
    )


def trends(database: Database, chosen: RunFilter, interval: Interval = "day") -> list[Point]:
    """The runs over time, in UTC, by when they started. Hours and days without runs are left out.

    Args:
        database: Where from.
        chosen: Which runs.
        interval: By `hour`, by `day`, or as a `heatmap`: by hour of the week.

    Raises:
        Unavailable: The database does not answer.
    """
    dimension: Dimension = "week_hour" if interval == "heatmap" else interval
    points: dict[int, dict[str, Sums]] = {}
    with database.read() as connection:
        for (at, state), sums in sums_of(connection, database, chosen, [dimension, "state"]).groups.items():
            points.setdefault(at, {})[state] = sums
    told = [_point(at, by_state, interval) for at, by_state in sorted(points.items())]
    return told if interval != "heatmap" else sorted(told, key=lambda point: (point.weekday, point.hour))


def by_value(database: Database, chosen: RunFilter, by: By = "workflow") -> list[Group]:
    """The runs by workflow, version, queue or error type, the most frequent first.

    Raises:
        Unavailable: The database does not answer.
    """
    groups: dict[str, dict[str, Sums]] = {}
    with database.read() as connection:
        for (value, state), sums in sums_of(connection, database, chosen, [by, "state"]).groups.items():
            groups.setdefault(value, {})[state] = sums
    told = [_group(value, by_state) for value, by_state in groups.items()]
    return sorted(told, key=lambda group: (-group.total, group.value))


def steps(database: Database, chosen: RunFilter) -> list[StepFigures]:
    """The steps of the runs that fit a filter, the most frequent first.

    Of filters by workflow, version and start alone, all executions of the runs count. Other filters choose among the
    runs as they are now.

    Raises:
        Unavailable: The database does not answer.
    """
    told: list[StepFigures] = []
    with database.read() as connection:
        figures = step_figures(connection, database, chosen)
        quantiles = step_quantiles(connection, database, chosen, figures)
    for place, outcomes in figures.groups.items():
        total = _total(outcomes.values())
        by_state: dict[str, int] = {}
        errors: dict[str, int] = {}
        for (state, error_type), sums in outcomes.items():
            by_state[state] = by_state.get(state, 0) + sums.count
            if state == "failed":
                errors[error_type] = errors.get(error_type, 0) + sums.count
        ended = sum(count for state, count in by_state.items() if StepState(state).closed)
        took, waited = quantiles[place]
        p50, p95, p99 = _seconds_of(took)
        wait50, wait95, _ = _seconds_of(waited)
        told.append(
            StepFigures(
                workflow=place[0],
                step=place[1],
                count=total.count,
                by_state=by_state,
                failure_rate=_share(by_state.get("failed", 0), ended),
                errors=errors,
                error_rates={error: count / ended for error, count in errors.items()},
                attempts=total.count + total.retries,
                attempts_mean=1 + total.retries / total.count,
                retried=total.retried,
                mean_seconds=_mean(total),
                p50_seconds=p50,
                p95_seconds=p95,
                p99_seconds=p99,
                queue_wait_p50_seconds=wait50,
                queue_wait_p95_seconds=wait95,
                tokens=total.tokens,
                cost_usd=total.cost_micros / 1e6,
                sampled=figures.sampled,
                quantiles=took.how,
            )
        )
    return sorted(told, key=lambda step: (-step.count, step.workflow, step.step))


def compare(database: Database, before: RunFilter, after: RunFilter) -> Comparison:
    """Two sets of runs: two periods, two versions, or what else two filters tell apart.

    Raises:
        Unavailable: The database does not answer.
    """
    first, second = summary(database, before), summary(database, after)
    old, new = asdict(first), asdict(second)
    change = {
        name: _change(value, new[name]) for name, value in old.items() if isinstance(value, int | float)
    }
    return Comparison(before=first, after=second, change=change)


def _point(at: int, by_state: Mapping[str, Sums], interval: Interval) -> Point:
    total = _total(by_state.values())
    heat = interval == "heatmap"
    return Point(
        start=None if heat else instant(at),
        # 1970 began on a Thursday.
        weekday=(at // DAY + 3) % 7 if heat else None,
        hour=at % DAY // HOUR if heat else None,
        total=total.count,
        by_state=_counts(by_state),
        success_rate=_success(by_state),
        retries=total.retries,
        mean_seconds=_mean(total),
        tokens=total.tokens,
        cost_usd=total.cost_micros / 1e6,
    )


def _group(value: str, by_state: Mapping[str, Sums]) -> Group:
    total = _total(by_state.values())
    return Group(
        value=value,
        total=total.count,
        by_state=_counts(by_state),
        open=_open(by_state),
        success_rate=_success(by_state),
        retry_rate=_share(total.retried, total.count),
        retries=total.retries,
        failed_steps=total.failed_steps,
        mean_seconds=_mean(total),
        tokens=total.tokens,
        cost_usd=total.cost_micros / 1e6,
    )


def _total(every: Iterable[Sums]) -> Sums:
    total = Sums()
    for sums in every:
        total.add(sums.values)
    return total


def _counts(by_state: Mapping[str, Sums]) -> dict[str, int]:
    return {state: sums.count for state, sums in sorted(by_state.items())}


def _open(by_state: Mapping[str, Sums]) -> int:
    return sum(sums.count for state, sums in by_state.items() if not RunState(state).closed)


def _success(by_state: Mapping[str, Sums]) -> float | None:
    completed = by_state.get(RunState.COMPLETED.value, Sums()).count
    return _share(completed, sum(sums.closed for sums in by_state.values()))


def _share(part: int, of: int) -> float | None:
    return part / of if of else None


def _mean(total: Sums) -> float | None:
    return total.duration_us / total.closed / 1e6 if total.closed else None


def _seconds_of(quantiles: Quantiles) -> Sequence[float | None]:
    return [None if value is None else value / 1e6 for value in (quantiles.p50, quantiles.p95, quantiles.p99)]


def _change(before: float, after: Any) -> float | None:
    return (after - before) / before if before and after is not None else None
