"""Each figure against a slow recomputation from the rows."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from tests.store.made import START, a_step, by_chance, failed, made

from holdfast.states import RunState
from holdfast.store import analytics, durations, step_sums, sums
from holdfast.store.database import Database
from holdfast.store.figures import By, Interval
from holdfast.store.filters import RunFilter
from holdfast.store.quantiles import ERROR, bucket, from_buckets, from_values, middle, rank
from holdfast.store.rows import is_failure
from holdfast.store.runs import StoredRun, get_steps, list_runs
from holdfast.store.writer import write_runs

FILTERS: list[dict[str, Any]] = [
    {},
    {"workflows": ["fulfil"]},
    {"versions": ["v1", ""]},
    {"states": [RunState.FAILED, RunState.COMPLETED]},
    {"error_type": "ValueError"},
    {"open": True},
    {"queues": ["slow"]},
    {"parent": "run-0", "workflows": ["refund", "nightly"]},
    {
        "started_from": START + timedelta(hours=3, minutes=17),
        "started_to": START + timedelta(days=2, hours=1, seconds=5),
    },
    {
        "started_from": START + timedelta(hours=3, minutes=17),
        "started_to": START + timedelta(hours=3, minutes=50),
    },
    {"started_from": START + timedelta(hours=1), "workflows": ["fulfil", "refund"]},
    {"started_to": START + timedelta(hours=30, minutes=1)},
]


def every(database: Database, chosen: RunFilter) -> list[StoredRun]:
    return list(list_runs(database, chosen, limit=1000).runs)


def test_a_summary_equals_a_slow_one(database: Database) -> None:
    write_runs(database, by_chance(21, 250))
    for wanted in FILTERS:
        _check_summary(database, RunFilter(**wanted))


def _check_summary(database: Database, chosen: RunFilter) -> None:
    runs, told = every(database, chosen), analytics.summary(database, chosen)
    closed = [run for run in runs if run.closed]
    took = [run.duration_us for run in closed if run.duration_us is not None]
    waited = [run.queue_wait_us for run in runs if run.queue_wait_us is not None]
    assert told.total == len(runs)
    assert told.by_state == Counter(run.state.value for run in runs)
    assert told.open == len(runs) - len(closed)
    completed = sum(run.state is RunState.COMPLETED for run in runs)
    assert told.success_rate == (completed / len(closed) if closed else None)
    assert told.retry_rate == (sum(run.retry_count > 0 for run in runs) / len(runs) if runs else None)
    assert (told.retries, told.failed_steps) == (
        sum(run.retry_count for run in runs), sum(run.failed_step_count for run in runs),
    )  # fmt: skip
    assert (told.tokens, told.cost_usd) == (
        sum(run.tokens for run in runs),
        sum(run.cost_micros for run in runs) / 1e6,
    )
    assert told.mean_seconds == (pytest.approx(statistics.mean(took) / 1e6) if took else None)
    assert told.quantiles == "exact"
    slow = [sorted(took)[rank(q, len(took))] / 1e6 if took else None for q in (0.5, 0.95, 0.99)]
    assert [told.p50_seconds, told.p95_seconds, told.p99_seconds] == slow
    assert told.queue_wait_p95_seconds == (sorted(waited)[rank(0.95, len(waited))] / 1e6 if waited else None)


@pytest.mark.parametrize("interval", ["hour", "day", "heatmap"])
def test_trends_equal_slow_ones(interval: Interval, database: Database) -> None:
    write_runs(database, by_chance(22, 150))
    for wanted in FILTERS:
        _check_trends(database, RunFilter(**wanted), interval)


def _check_trends(database: Database, chosen: RunFilter, interval: Interval) -> None:
    slow: dict[Any, Counter[str]] = {}
    for run in every(database, chosen):
        at = run.started.replace(minute=0, second=0, microsecond=0)
        place = {"hour": at, "day": at.replace(hour=0), "heatmap": (at.weekday(), at.hour)}[interval]
        slow.setdefault(place, Counter())[run.state.value] += 1
    points = analytics.trends(database, chosen, interval)
    told = [
        ((point.weekday, point.hour) if interval == "heatmap" else point.start, point.by_state)
        for point in points
    ]
    assert told == sorted(slow.items())


def test_groups_equal_slow_ones(database: Database) -> None:
    write_runs(database, by_chance(23, 150))
    groups: tuple[By, ...] = ("workflow", "version", "queue", "error_type")
    for by in groups:
        slow = Counter((getattr(run, by) or "", run.state) for run in every(database, RunFilter()))
        told = analytics.by_value(database, RunFilter(), by)
        assert {(group.value, state): n for group in told for state, n in group.by_state.items()} == slow
        assert all(group.total == sum(group.by_state.values()) for group in told)


def test_figures_of_steps_equal_slow_ones(database: Database) -> None:
    write_runs(database, [one for one in by_chance(24, 150) if one.run.execution_id.endswith("/0")])
    for wanted in FILTERS:
        _check_steps(database, RunFilter(**wanted))


def _check_steps(database: Database, chosen: RunFilter) -> None:
    slow: dict[tuple[str, str], list[Any]] = {}
    for run in every(database, chosen):
        for step in get_steps(database, run.id):
            slow.setdefault((run.workflow, step.name), []).append(step)
    told = {(step.workflow, step.step): step for step in analytics.steps(database, chosen)}
    assert told.keys() == slow.keys()
    for place, steps in slow.items():
        figures, took = told[place], [step.duration_us for step in steps if step.duration_us is not None]
        assert (figures.count, figures.by_state) == (len(steps), Counter(step.state.value for step in steps))
        bad = [step for step in steps if is_failure(step.state, step.error_type)]
        assert figures.errors == Counter(step.error_type for step in bad)
        assert figures.attempts_mean == pytest.approx(statistics.mean(step.attempt for step in steps))
        assert figures.p95_seconds == (sorted(took)[rank(0.95, len(took))] / 1e6 if took else None)
        assert (figures.quantiles, figures.sampled) == ("exact", None)


def test_quantiles_of_many_are_near(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    write_runs(database, [one for one in by_chance(25, 200) if one.run.execution_id.endswith("/0")])
    for wanted in FILTERS:
        with monkeypatch.context() as patch:
            _check_near(database, RunFilter(**wanted), patch)


def _check_near(database: Database, chosen: RunFilter, patch: pytest.MonkeyPatch) -> None:
    exact = analytics.summary(database, chosen)
    patch.setattr(durations, "EXACT_ROWS", 2)
    near = analytics.summary(database, chosen)
    for name in ("p50_seconds", "p95_seconds", "p99_seconds", "queue_wait_p95_seconds"):
        value = getattr(exact, name)
        assert getattr(near, name) == (
            None if value is None else pytest.approx(value, rel=ERROR * 1.01, abs=2e-6)
        )


def test_a_sample_says_so_and_is_fair(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    write_runs(database, [made(f"r{n}", steps=[a_step(), a_step("ship")]) for n in range(1500)])
    monkeypatch.setattr(step_sums, "SAMPLE_RUNS", 300)
    told = analytics.steps(database, RunFilter(queues=["default"]))
    assert {step.quantiles for step in told} == {"sampled"}
    assert told[0].sampled == pytest.approx(0.2, abs=0.01)
    assert 200 < told[0].count < 400


def test_a_text_that_no_index_finds_is_looked_for_in_a_part_of_many_runs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runs(database, [made(f"run-{n}", started=START + timedelta(hours=n % 48)) for n in range(1500)])
    chosen = RunFilter(text="-1")
    exact = analytics.summary(database, chosen)
    assert (exact.total, exact.sampled, exact.quantiles) == (
        sum("-1" in f"run-{n}" for n in range(1500)), None, "exact",
    )  # fmt: skip
    monkeypatch.setattr(sums, "SEARCHED_RUNS", 500)
    told = analytics.summary(database, chosen)
    assert told.sampled == pytest.approx(1 / 3, abs=0.01)
    assert told.total / (told.sampled or 1) == pytest.approx(exact.total, rel=0.3)
    assert (told.quantiles, told.p50_seconds) == ("sampled", 3.0)
    points = analytics.trends(database, chosen)
    (group,) = analytics.by_value(database, chosen)
    assert sum(point.total for point in points) == group.total == told.total
    assert {points[0].sampled, group.sampled, analytics.steps(database, chosen)[0].sampled} == {told.sampled}
    assert analytics.compare(database, RunFilter(), chosen).change["total"] == pytest.approx(
        exact.total / 1500 - 1, abs=0.2
    )
    assert analytics.summary(database, RunFilter(text="-1", workflows=["none"])).sampled is None


def test_two_versions_are_compared(database: Database) -> None:
    write_runs(database, [made(f"a{n}", build_id="v1") for n in range(4)])
    write_runs(database, [failed(f"b{n}", "no", build_id="v2") for n in range(3)])
    write_runs(database, [made("c", build_id="v2", closed=START + timedelta(seconds=6))])
    told = analytics.compare(database, RunFilter(versions=["v1"]), RunFilter(versions=["v2"]))
    assert (told.before.success_rate, told.after.success_rate) == (1.0, 0.25)
    assert told.change["success_rate"] == -0.75
    assert told.change["p99_seconds"] == 1.0
    assert told.change["tokens"] is None


def test_nothing_has_figures_too(database: Database) -> None:
    told = analytics.summary(database, RunFilter())
    assert (told.total, told.success_rate, told.p50_seconds) == (0, None, None)
    assert analytics.trends(database, RunFilter()) == []
    assert analytics.steps(database, RunFilter(queues=["x"])) == []


def test_buckets_stand_for_what_is_in_them() -> None:
    for value in [0, 1, 2, 3, 17, 999, 10**6, 3_600_000_000, 10**15]:
        assert middle(bucket(value)) == pytest.approx(value, rel=ERROR, abs=0.6)
    values = [5, 1, 4, 2, 3]
    assert from_values(values, (0.0, 0.5, 1.0)) == [1, 3, 5]
    assert from_buckets({bucket(value): 1 for value in values}, (0.5,)) == [3]
    assert from_buckets({}, (0.5,)) == [None]


def test_quantiles_of_very_many_steps_are_of_a_sample_of_those_asked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = a_step("ship", closed=START + timedelta(seconds=11))
    write_runs(database, [made(f"a{n}", steps=[a_step()]) for n in range(300)])
    write_runs(database, [made(f"b{n}", workflow="slow", steps=[slow]) for n in range(300)])
    monkeypatch.setattr(durations, "SAMPLE_STEPS", 60)
    monkeypatch.setattr(durations, "_KEYS_AT_A_TIME", 7)
    for chosen in (RunFilter(workflows=["slow"]), RunFilter(workflows=["slow"], started_from=START)):
        (told,) = analytics.steps(database, chosen)
        assert (told.count, told.sampled, told.quantiles) == (300, None, "sampled")
        assert (told.p50_seconds, told.mean_seconds) == (10.0, 10.0)
    assert {step.step: step.p50_seconds for step in analytics.steps(database, RunFilter())} == {
        "charge": 1.0,
        "ship": 10.0,
    }
