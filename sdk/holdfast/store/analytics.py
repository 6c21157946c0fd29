"""What runs were like: counts, rates, durations, costs; over time, by step, by workflow, against another time.

Counts and sums are exact, but where a text is searched without an index in more than 100,000 runs: `sampled` says so.
Quantiles say how they were found: exact from up to 10,000 runs or 20,000 steps; beyond that from the figures by day,
each within 2 % of the value; of steps, and where a filter does not allow that, from a sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from holdfast.states import RunState, StepState
from holdfast.store.columns import instant
from holdfast.store.database import Database
from holdfast.store.durations import Quantiles, run_quantiles, step_quantiles
from holdfast.store.figures import By, Comparison, Group, Interval, Point, StepFigures, Summary
from holdfast.store.filters import ALL, RunFilter
from holdfast.store.rollup import DAY, HOUR
from holdfast.store.rows import is_failure
from holdfast.store.step_sums import step_figures
from holdfast.store.sums import Dimension, RunSums, Sums, sums_of, text_sample

_ADDED_UP: Final = frozenset(
    {"total", "open", "retries", "failed_steps", "throughput_per_hour", "tokens", "cost_usd"}
)


def summary(database: Database, chosen: RunFilter) -> Summary:
    """The runs that fit a filter, in one look.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        sample = text_sample(connection, database, chosen)
        total = sums_of(connection, database, chosen, sample=sample).get(None, RunSums())
        took, waited = run_quantiles(connection, database, chosen, total.count, sample)
    hours = None
    if chosen.started_from is not None:
        hours = ((chosen.started_to or datetime.now(UTC)) - chosen.started_from) / timedelta(hours=1)
    p50, p95, p99 = _seconds_of(took)
    wait50, wait95, wait99 = _seconds_of(waited)
    return Summary(
        total=total.count,
        by_state=_by_state(total),
        open=_open(total),
        success_rate=_success(total),
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
        sampled=_part(sample),
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
    with database.read() as connection:
        sample = text_sample(connection, database, chosen)
        by: Dimension = "hour" if interval == "heatmap" else interval
        found = sums_of(connection, database, chosen, by, sample=sample)
    if interval != "heatmap":
        return [_point(total, sample, start=instant(at)) for at, total in sorted(found.items())]
    week: dict[tuple[int, int], RunSums] = {}
    for at, total in found.items():
        # 1970 began on a Thursday.
        week.setdefault(((at // DAY + 3) % 7, at % DAY // HOUR), RunSums()).include(total)
    return [_point(total, sample, weekday=day, hour=hour) for (day, hour), total in sorted(week.items())]


def by_value(database: Database, chosen: RunFilter, by: By = "workflow") -> list[Group]:
    """The runs by workflow, version, queue or error type, the most frequent first.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        sample = text_sample(connection, database, chosen)
        found = sums_of(connection, database, chosen, by, sample=sample)
    told = [_group(value, total, sample) for value, total in found.items()]
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
            if is_failure(state, error_type):
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
                failure_rate=_share(sum(errors.values()), ended),
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
    # What is added up of a part of the runs stands for so many more.
    scale = (first.sampled or 1) / (second.sampled or 1)
    change = {
        name: _change(value, new[name], scale if name in _ADDED_UP else 1)
        for name, value in old.items()
        if isinstance(value, int | float) and name != "sampled"
    }
    return Comparison(before=first, after=second, change=change)


def _point(
    total: RunSums,
    sample: int | None,
    *,
    start: datetime | None = None,
    weekday: int | None = None,
    hour: int | None = None,
) -> Point:
    return Point(
        start=start,
        weekday=weekday,
        hour=hour,
        total=total.count,
        by_state=_by_state(total),
        success_rate=_success(total),
        retries=total.retries,
        mean_seconds=_mean(total),
        tokens=total.tokens,
        cost_usd=total.cost_micros / 1e6,
        sampled=_part(sample),
    )


def _group(value: str, total: RunSums, sample: int | None) -> Group:
    return Group(
        value=value,
        total=total.count,
        by_state=_by_state(total),
        open=_open(total),
        success_rate=_success(total),
        retry_rate=_share(total.retried, total.count),
        retries=total.retries,
        failed_steps=total.failed_steps,
        mean_seconds=_mean(total),
        tokens=total.tokens,
        cost_usd=total.cost_micros / 1e6,
        sampled=_part(sample),
    )


def _part(sample: int | None) -> float | None:
    return None if sample is None else sample / ALL


def _total(every: Iterable[Sums]) -> Sums:
    total = Sums()
    for sums in every:
        total.add(sums.values)
    return total


def _by_state(total: RunSums) -> dict[str, int]:
    return dict(sorted(total.by_state.items()))


def _open(total: RunSums) -> int:
    return sum(count for state, count in total.by_state.items() if not RunState(state).closed)


def _success(total: RunSums) -> float | None:
    return _share(total.by_state.get(RunState.COMPLETED.value, 0), total.count - _open(total))


def _share(part: int, of: int) -> float | None:
    return part / of if of else None


def _mean(total: Sums) -> float | None:
    return total.duration_us / total.closed / 1e6 if total.closed else None


def _seconds_of(quantiles: Quantiles) -> Sequence[float | None]:
    return [None if value is None else value / 1e6 for value in (quantiles.p50, quantiles.p95, quantiles.p99)]


def _change(before: float, after: Any, scale: float) -> float | None:
    return (after * scale - before) / before if before and after is not None else None
