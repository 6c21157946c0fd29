"""What analytics tell, as values. Shares are from 0 to 1; spans are in seconds, costs in US dollars, times in UTC.

Counts, sums, shares and means are exact unless `sampled` is set. Quantiles say how they were found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from holdfast.jsonable import Jsonable

Interval: TypeAlias = Literal["hour", "day", "heatmap"]
By: TypeAlias = Literal["workflow", "version", "queue", "error_type"]
How: TypeAlias = Literal["exact", "within 2 %", "sampled"]


@dataclass(frozen=True, kw_only=True)
class Summary(Jsonable):
    """The runs that fit a filter."""

    total: int
    by_state: Mapping[str, int]
    """Runs by state; states that no run has are left out."""

    open: int
    """Runs that have not ended."""

    success_rate: float | None
    """Completed ones among those that have ended; `None` if none has."""

    retry_rate: float | None
    """Runs with a step that was tried more than once, among all; `None` without runs."""

    retries: int
    """Attempts of steps after the first."""

    failed_steps: int
    """Steps that failed for good."""

    throughput_per_hour: float | None
    """Runs of the filter that have ended, by the hours from `started_from` to `started_to` (else now); `None` without
    `started_from`."""

    mean_seconds: float | None
    """From the start to the end, of runs that have ended; `None` if none has. So are the quantiles."""

    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    queue_wait_p50_seconds: float | None
    """From the start until a worker first took the run up; `None` if none did."""

    queue_wait_p95_seconds: float | None
    queue_wait_p99_seconds: float | None
    tokens: int
    cost_usd: float
    """What steps reported, such as those of `llm`; with millionths of a dollar as the smallest unit."""

    quantiles: How
    """How the quantiles of durations were found."""

    queue_wait_quantiles: How
    sampled: float | None
    """The part of the runs that was looked at, from 0 to 1: all numbers are those of that part. `None` for all, as it
    is but for a text that is searched without an index in more than 100,000 runs."""


@dataclass(frozen=True, kw_only=True)
class Group(Jsonable):
    """The runs of one workflow, version, queue or error type; the fields are those of `Summary`."""

    value: str
    """Empty for runs without a version, or without an error."""

    total: int
    by_state: Mapping[str, int]
    open: int
    success_rate: float | None
    retry_rate: float | None
    retries: int
    failed_steps: int
    mean_seconds: float | None
    tokens: int
    cost_usd: float
    sampled: float | None


@dataclass(frozen=True, kw_only=True)
class Point(Jsonable):
    """The runs that started in one hour or day, or in one hour of the week; other fields are those of `Summary`."""

    start: datetime | None
    """When the hour or day begins, in UTC; `None` in a heatmap."""

    weekday: int | None
    """In a heatmap, 0 (Monday) to 6; else `None`."""

    hour: int | None
    """In a heatmap, 0 to 23 in UTC; else `None`."""

    total: int
    by_state: Mapping[str, int]
    success_rate: float | None
    retries: int
    mean_seconds: float | None
    tokens: int
    cost_usd: float
    sampled: float | None


@dataclass(frozen=True, kw_only=True)
class StepFigures(Jsonable):
    """All calls of one step of one workflow."""

    workflow: str
    step: str
    count: int
    """Calls."""

    by_state: Mapping[str, int]
    """Calls by state; states that none has are left out."""

    failure_rate: float | None
    """Calls that failed for good among those that have ended; `None` if none has."""

    errors: Mapping[str, int]
    """Calls that failed for good, by error type."""

    error_rates: Mapping[str, float]
    """The same, among the calls that have ended."""

    attempts: int
    """Attempts of all calls, those under way included."""

    attempts_mean: float
    """Attempts of a call."""

    retried: int
    """Calls with more than one attempt."""

    mean_seconds: float | None
    """From the start of the last attempt to the end, of calls that have ended; `None` if none has. So are the
    quantiles."""

    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    queue_wait_p50_seconds: float | None
    """From being scheduled until a worker took it up, of calls that took one attempt and are not local; `None` if
    there is none."""

    queue_wait_p95_seconds: float | None
    tokens: int
    cost_usd: float
    sampled: float | None
    """As of `Summary`; also with filters other than workflow, version and start, where more than 2,000 runs fit."""

    quantiles: How


@dataclass(frozen=True, kw_only=True)
class Comparison(Jsonable):
    """Two sets of runs, of two periods or versions."""

    before: Summary
    after: Summary
    change: Mapping[str, float | None]
    """By name of a number in `Summary`: how much `after` is above `before`, as a part of it: 0.1 is 10 % more, -0.5
    half; `None` where `before` has nothing or is 0, or `after` has nothing."""
