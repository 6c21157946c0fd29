"""Storing runs: twice, in any order, older after newer, with any text; and the figures that go with them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, select
from tests.store.made import START, a_step, by_chance, failed, made, shown, still_open

from holdfast.client.description import ErrorInfo
from holdfast.states import RunState, StepState
from holdfast.store.columns import microseconds
from holdfast.store.database import Database
from holdfast.store.quantiles import bucket
from holdfast.store.rollup import BLOCK, DAY, HOUR, SUMS
from holdfast.store.rows import Event, IndexedRun, is_failure
from holdfast.store.schema import (
    approvals,
    attempts,
    cursors,
    events,
    executions,
    histograms,
    rollups,
    run_details,
    runs,
    steps,
    unreadable,
)
from holdfast.store.writer import PRUNED, Written, write_runs

ALL = (runs, run_details, executions, steps, attempts, approvals, rollups, histograms)


def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    with database.read() as connection:
        return [
            dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
        ]


def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    return {table.name: rows(database, table) for table in ALL}


def one_run(database: Database) -> dict[str, Any]:
    (row,) = rows(database, runs)
    return row


def test_a_run_is_stored_with_its_steps(database: Database) -> None:
    write_runs(database, [made(first_task=START + timedelta(milliseconds=5))])
    row = one_run(database)
    assert (row["id"], row["state"], row["workflow"], row["started"]) == (
        "order-1",
        "completed",
        "fulfil",
        START,
    )
    assert (row["duration_us"], row["queue_wait_us"], row["step_count"]) == (3_000_000, 5_000, 1)
    (step,) = rows(database, steps)
    assert (step["run_key"], step["name"], step["state"]) == (row["key"], "charge", "completed")
    assert (step["duration_us"], step["queue_wait_us"]) == (1_000_000, 1_000_000)
    assert step["result"] == {"text": '"ok"', "size": 4, "complete": True}


def test_the_same_twice_changes_nothing(database: Database) -> None:
    batch = by_chance(1, 40)
    write_runs(database, batch)
    before = everything(database)
    assert write_runs(database, batch).stored == 0
    assert everything(database) == before


@pytest.mark.parametrize("seed", range(4))
def test_the_order_in_which_runs_are_told_does_not_matter(
    seed: int, database: Database, tmp_path: Any
) -> None:
    batch = by_chance(seed, 60)
    write_runs(database, batch)
    shuffled = batch[:]
    chance = random.Random(seed)
    chance.shuffle(shuffled)
    other = Database.open(tmp_path / "other.db")
    while shuffled:
        size = chance.randrange(1, 9)
        write_runs(other, shuffled[:size])
        del shuffled[:size]
    assert everything(other) == everything(database)
    other.close()


def test_what_is_older_never_replaces_what_is_newer(database: Database) -> None:
    done, before = made(), still_open()
    write_runs(database, [done])
    assert write_runs(database, [before]) == Written(older=1)
    assert one_run(database)["state"] == "completed"
    # An open run may change without an event: the later look counts.
    write_runs(
        database,
        [still_open("b", observed=START), still_open("b", observed=START + timedelta(1), stuck="no worker")],
    )
    assert {row["stuck"] for row in rows(database, run_details)} == {None, "no worker"}


def test_a_run_that_ends_leaves_no_open_approval_and_no_figures_of_before(database: Database) -> None:
    write_runs(database, [still_open()])
    assert [row["name"] for row in rows(database, approvals)] == ["ship"]
    write_runs(database, [made()])
    assert rows(database, approvals) == []
    assert {row["state"] for row in rows(database, rollups) if not row["step"]} == {"completed"}


def test_a_continued_run_is_one_run_with_the_steps_of_all_its_executions(database: Database) -> None:
    later = START + timedelta(hours=2)
    first = made(execution_id="e1", steps=[a_step(ordinal=1)])
    second = made(
        execution_id="e2",
        first_execution_id="e1",
        started=later,
        steps=[a_step(ordinal=2, begun=later, attempt=3)],
    )
    write_runs(database, [second])
    write_runs(database, [first])  # told late: the run turns out to have begun earlier
    row = one_run(database)
    assert (row["execution_id"], row["started"], row["step_count"], row["retry_count"]) == ("e2", START, 2, 2)
    assert row["duration_us"] == microseconds(later) - microseconds(START) + 3_000_000
    assert {step["run_key"] for step in rows(database, steps)} == {row["key"]}
    assert [detail["run_key"] for detail in rows(database, run_details)] == [row["key"]]


def test_a_restarted_run_begins_anew_and_keeps_what_was_before(database: Database) -> None:
    again = START + timedelta(days=1)
    write_runs(database, [failed("order-1", "no", execution_id="e1")])
    write_runs(database, [made(execution_id="e2", started=again)])
    row = one_run(database)
    assert (row["started"], row["state"], row["step_count"], row["failed_step_count"]) == (
        again,
        "completed",
        1,
        0,
    )
    assert [execution["state"] for execution in rows(database, executions)] == ["failed", "completed"]
    assert len(rows(database, steps)) == 2


def test_failed_attempts_are_kept_with_a_fingerprint(database: Database) -> None:
    write_runs(
        database, [failed("a", "card 4242 declined"), failed("b", "card 1111 declined"), failed("c", "else")]
    )
    found = [row["fingerprint"] for row in rows(database, attempts)]
    assert len(found) == 6
    assert len(set(found)) == 2
    assert len({row["fingerprint"] for row in rows(database, runs)}) == 2


NASTY = [
    "a\x00b",
    "\ud83d alone",
    "😀",
    "' OR 1=1 --",
    '"; DROP TABLE runs; --',
    "=1+1",
    "x" * 10_000,
    "é" * 10_000,
]


@pytest.mark.parametrize("text", NASTY)
def test_any_text_is_stored(text: str, database: Database) -> None:
    error = ErrorInfo(type=text, message=text)
    step = a_step(
        text, state=StepState.FAILED, error=error, attempt=2, last_failure=error, input=[shown(text)]
    )
    one = made(
        text, workflow=text, queue=text, execution_id=text, error=error, state=RunState.FAILED, steps=[step],
        parent=text, build_id=text, search_attributes={text: text}, input=[shown(text)], memo={text: text},
    )  # fmt: skip
    write_runs(database, [one])
    before = everything(database)
    assert write_runs(database, [one]).older == 1
    row = one_run(database)
    if len(text) < 100:
        assert (row["id"], row["workflow"], row["error_type"]) == (text, text, text)
        (detail,) = rows(database, run_details)
        assert (detail["input"][0]["text"], detail["search_attributes"]) == (text, {text: text})
    else:
        assert len(row["id"].encode()) <= 1000
        assert row["id"].startswith(text[:300])
    assert everything(database) == before


def test_events_are_written_with_the_run_and_once(database: Database) -> None:
    happened = Event(
        kind="workflow.completed", at=START, run_id="order-1", identity="e/completed", payload={"x": "\x00"}
    )
    write_runs(database, [made(events=[happened])])
    write_runs(database, [made(events=[happened], observed=START + timedelta(1))])
    write_runs(database, [made(events=[Event(kind="loose", at=START)], observed=START + timedelta(2))])
    told = rows(database, events)
    assert [(row["kind"], row["payload"]) for row in told] == [
        ("workflow.completed", {"x": "\x00"}),
        ("loose", None),
    ]


def test_a_history_that_can_be_read_is_no_longer_unreadable(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            unreadable.insert().values(execution_id="order-1/1", first_seen=START, last_seen=START)
        )
    write_runs(database, [made()])
    assert rows(database, unreadable) == []


def test_what_was_pruned_does_not_come_back(database: Database) -> None:
    with database.write() as connection:
        value = microseconds(START + timedelta(days=1))
        connection.execute(cursors.insert().values(name=PRUNED, value=value, updated=START))
    assert write_runs(database, [made(), still_open("open")]) == Written(stored=1, pruned=1)


def test_two_runs_of_one_microsecond_have_two_keys(database: Database) -> None:
    many = [made(f"r{number}") for number in range(300)]
    write_runs(database, many[:150])
    write_runs(database, many[150:])
    assert len(rows(database, runs)) == 300


def test_writers_at_once_lose_nothing(open_database: Callable[[], Database]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    batch = by_chance(7, 60)
    several = [open_database() for _ in range(3)]
    halves = [batch, batch[::-1], batch[20:] + batch[:20]]

    def write(database: Database, mine: list[IndexedRun]) -> None:
        for start in range(0, len(mine), 7):
            write_runs(database, mine[start : start + 7])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, several, halves))
    seen = everything(several[0])
    assert {row["id"] for row in seen["runs"]} == {one.run.id for one in batch}
    _check_figures(several[0])


@pytest.mark.parametrize("seed", [11, 12])
def test_the_figures_equal_a_slow_recomputation(seed: int, database: Database) -> None:
    batch = by_chance(seed, 150)
    random.Random(seed).shuffle(batch)
    for start in range(0, len(batch), 23):
        write_runs(database, batch[start : start + 23])
    changed = [replace(one, observed=one.observed + timedelta(1), version="v9") for one in batch[:40]]
    write_runs(database, changed)
    _check_figures(database)


def _check_figures(database: Database) -> None:
    told = {row["key"]: row for row in rows(database, executions)}
    sums: dict[tuple[Any, ...], Counter[str]] = {}
    buckets = Counter[tuple[Any, ...]]()
    todo = [(row, row, "", row["retry_count"], row["failed_step_count"]) for row in rows(database, runs)]
    todo += [
        (
            row,
            told[row["execution_key"]],
            row["name"],
            row["attempt"] - 1,
            int(is_failure(row["state"], row["error_type"])),
        )
        for row in rows(database, steps)
    ]
    for row, of, step, retries, failed_steps in todo:
        at = microseconds(of["started"])
        place = (of["workflow"], of["version"])
        for span, width in (("hour", HOUR), ("day", DAY)) if not step else (("day", DAY),):
            key = (span, step, at // width * width, *place, row["state"], row["error_type"] or "")
            sums.setdefault(key, Counter()).update(
                count=1, retried=int(retries > 0), retries=retries, failed_steps=failed_steps,
                closed=int(row["closed"] is not None), duration_us=row["duration_us"] or 0,
                queue_wait_us=row["queue_wait_us"] or 0, tokens=row["tokens"], cost_micros=row["cost_micros"],
            )  # fmt: skip
        for measure in ("duration", "queue_wait") if not step else ():
            if (value := row[f"{measure}_us"]) is not None:
                buckets[measure, at // BLOCK * BLOCK, *place, bucket(value)] += 1
    keys = [column.name for column in rollups.primary_key]
    kept = {
        tuple(row[key] for key in keys): {name: row[name] for name in SUMS} for row in rows(database, rollups)
    }
    assert kept == {key: {name: values[name] for name in SUMS} for key, values in sums.items()}
    names = [column.name for column in histograms.primary_key]
    assert {tuple(row[name] for name in names): row["count"] for row in rows(database, histograms)} == buckets
