"""Forgetting: only what is closed and old, children included; figures outlast; SQLite's file shrinks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select
from tests.store.made import START, failed, made, shown, still_open

from holdfast.store import retention
from holdfast.store.analytics import summary
from holdfast.store.audit_log import Action, write_actions
from holdfast.store.database import Database
from holdfast.store.filters import RunFilter
from holdfast.store.retention import Retention, count_old, prune, pruned_before
from holdfast.store.rows import Event
from holdfast.store.runs import get_steps, list_runs
from holdfast.store.schema import (
    approvals,
    attempts,
    audit_log,
    events,
    executions,
    rollups,
    run_details,
    runs,
    steps,
)
from holdfast.store.writer import write_events, write_runs

DAY = timedelta(days=1)


def count(database: Database, *tables: Table) -> list[int]:
    with database.read() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]


def test_closed_runs_are_forgotten_after_their_time_and_open_ones_are_not(database: Database) -> None:
    write_runs(database, [failed("old", "no"), still_open("open"), made("new", started=START + 100 * DAY)])
    assert prune(database, now=START + 89 * DAY).runs == 0
    assert prune(database, now=START + 91 * DAY).runs == 1
    assert {run.id for run in list_runs(database, RunFilter()).runs} == {"open", "new"}
    assert count(database, runs, run_details, executions, steps, attempts, approvals) == [2, 2, 2, 2, 0, 1]
    assert list_runs(database, RunFilter(text="old")).runs == []


def test_figures_outlast_the_runs_and_a_forgotten_run_is_not_counted_again(database: Database) -> None:
    old = made("old")
    write_runs(database, [old])
    prune(database, now=START + 91 * DAY)
    write_runs(database, [replace(old, observed=START + 92 * DAY)])
    told = summary(database, RunFilter())
    assert (told.total, told.quantiles) == (1, "within 2 %")
    assert told.p50_seconds == pytest.approx(3, rel=0.02)
    assert pruned_before(database) == START + DAY
    prune(database, Retention(figures=DAY), now=START + 93 * DAY)
    assert count(database, rollups) == [0]


def test_it_goes_in_batches_and_goes_on_where_it_stopped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    write_runs(database, [made(f"r{n}", started=START + timedelta(seconds=n)) for n in range(35)])
    write_events(database, [Event(kind="x", at=START) for _ in range(25)])
    assert prune(database, now=START + 91 * DAY, max_batches=2).runs == 20
    assert prune(database, now=START + 91 * DAY).runs == 15
    assert count(database, runs, steps, events) == [0, 0, 0]


def test_events_and_actions_are_kept_as_long_as_is_said_or_for_ever(database: Database) -> None:
    now = START + 400 * DAY
    ages = (399, 366, 20, 1)
    write_events(database, [Event(kind="x", at=now - age * DAY) for age in ages])
    write_actions(database, [Action(at=now - age * DAY, who="ada", what="cancel") for age in ages])
    prune(database, Retention(events=None, actions=None), now=now)
    assert count(database, events, audit_log) == [4, 4]
    assert count_old(database, Retention(events=None), now=now).events == 0
    assert count_old(database, now=now).events == 3
    prune(database, now=now)
    assert count(database, events, audit_log) == [1, 2]
    prune(database, Retention(actions=10 * DAY), now=now)
    assert count(database, audit_log) == [1]


def test_the_old_steps_of_an_open_run_are_forgotten_and_its_sums_are_not(database: Database) -> None:
    first = made(execution_id="e1")
    second = still_open(
        execution_id="e2", first_execution_id="e1", started=START + 80 * DAY, observed=START + 80 * DAY
    )
    write_runs(database, [first, second])
    prune(database, now=START + 95 * DAY)
    (run,) = list_runs(database, RunFilter()).runs
    assert run.step_count == 2
    assert [step.execution_id for step in get_steps(database, run.id)] == ["e2"]


def test_the_file_gives_its_pages_back(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    database = Database.open(path)
    write_runs(database, [made(f"r{n}", input=[shown("x" * 2000)]) for n in range(1000)])
    with database.read() as connection:
        before = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    prune(database, now=START + 91 * DAY)
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA page_count").scalar_one() < before / 2
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    database.close()
