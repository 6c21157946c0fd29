"""Stores described runs: the same ones twice, in any order, from several processes, always with the same rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, delete, select, update

from holdfast.store.columns import ID_BYTES, bounded, microseconds
from holdfast.store.database import Database
from holdfast.store.dead_runs import follow
from holdfast.store.events import announce, events_pruned_before
from holdfast.store.rollup import Deltas
from holdfast.store.rows import (
    Event,
    IndexedRun,
    Row,
    approval_rows,
    attempt_rows,
    detail_row,
    execution_row,
    span_us,
    step_rows,
    told_row,
)
from holdfast.store.schema import (
    approvals,
    attempts,
    cursors,
    events,
    executions,
    key_of,
    run_details,
    runs,
    steps,
    unreadable,
)
from holdfast.store.upsert import insert_new, upsert

BATCH: Final = 200
"""How many runs go into one transaction."""

PRUNED: Final = "pruned_before"
"""The cursor with the time before which closed runs were deleted, in microseconds."""

_BY_RUN: Final = (executions, steps, attempts, approvals, run_details)
_TOLD: Final = ("id", "dag", "queue", "parent", "attempt", "error_type", "error_step", "fingerprint")
_SUMMED: Final = ("step_count", "retry_count", "failed_step_count", "tokens", "cost_micros")
_LATEST: Final = (
    "execution_id", "first_execution_id", "workflow", "version", "state", "closed", "history_event_count",
    "history_size_bytes", "last_event_id", "observed",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of a batch."""

    stored: int = 0
    older: int = 0
    """Known already, or less recent than what is stored."""

    pruned: int = 0
    """Closed before the time up to which the history was deleted."""


def write_runs(database: Database, batch: Sequence[IndexedRun]) -> Written:
    """Store runs, their steps, attempts, open approvals, events and figures.

    Each transaction takes up to 200 runs, whole ones. What is stored of an execution is replaced only by what was read
    later: more events, or as many and observed later; or by what says that it replaces it.

    Args:
        database: Where to.
        batch: Executions of runs, in any order; several of one run too.

    Raises:
        Unavailable: The database does not answer. Runs of earlier transactions of the batch are stored; writing all
            of it again does no harm.
    """
    written = [0, 0, 0]
    for start in range(0, len(batch), BATCH):
        prepared = [_Prepared(indexed) for indexed in batch[start : start + BATCH]]
        with database.write() as connection:
            for index, count in enumerate(_store(connection, prepared)):
                written[index] += count
    return Written(stored=written[0], older=written[1], pruned=written[2])


def write_events(database: Database, happened: Iterable[Event]) -> None:
    """Add events that belong to no stored run, or stand for themselves."""
    with database.write() as connection:
        _write_events(connection, happened)


class _Prepared:
    """An execution with its rows, made before anybody has to wait for the transaction."""

    def __init__(self, indexed: IndexedRun) -> None:
        self.indexed = indexed
        self.execution = execution_row(indexed)
        self.steps = step_rows(indexed)
        self.attempts = attempt_rows(indexed)
        self.run_id = bounded(indexed.run.id, ID_BYTES)

    def newer_than(self, stored: Row) -> bool:
        if (
            self.indexed.replaces and self.indexed.gap is None
        ):  # what has no history knows less than what is stored
            return True
        return _recency(self.execution) > _recency(stored)


def _recency(execution: Row) -> tuple[bool, int, int]:
    return execution["closed"] is not None, execution["last_event_id"], microseconds(execution["observed"])


def _store(connection: Connection, batch: Sequence[_Prepared]) -> tuple[int, int, int]:
    known = _load(
        connection, executions, executions.c.execution_id, (p.execution["execution_id"] for p in batch)
    )
    stored = {row["execution_id"]: row for row in known}
    newest: dict[str, _Prepared] = {}
    before = connection.execute(select(cursors.c.value).where(cursors.c.name == PRUNED)).scalar() or 0
    pruned = 0
    for prepared in batch:
        execution = prepared.execution
        execution_id = execution["execution_id"]
        if execution["closed"] is not None and microseconds(execution["closed"]) < before:
            pruned += execution_id not in stored
            continue
        other = newest[execution_id].execution if execution_id in newest else stored.get(execution_id)
        if other is None or prepared.newer_than(other):
            newest[execution_id] = prepared
    if newest:
        _Change(connection, list(newest.values()), stored).apply()
    return len(newest), len(batch) - len(newest) - pruned, pruned


class _Change:
    """What is to be done for executions that are new or have changed."""

    def __init__(self, connection: Connection, batch: Sequence[_Prepared], stored: dict[str, Row]) -> None:
        self.connection = connection
        self.batch = batch
        self.stored = stored
        self.deltas = Deltas()
        self.by_run: dict[str, list[_Prepared]] = defaultdict(list)
        for prepared in batch:
            self.by_run[prepared.run_id].append(prepared)

    def apply(self) -> None:
        """Write it all."""
        old_runs = {row["id"]: row for row in _load(self.connection, runs, runs.c.id, self.by_run)}
        others: dict[int, list[Row]] = defaultdict(list)
        old_keys = [row["key"] for row in old_runs.values()]
        for row in _load(self.connection, executions, executions.c.run_key, old_keys):
            others[row["run_key"]].append(row)
        self._keep_keys()
        new_runs: dict[str, Row] = {}
        told: list[tuple[Row, _Prepared]] = []
        for run_id, group in self.by_run.items():
            old = old_runs.get(run_id)
            row, teller = _run_row(old, others[old["key"]] if old else [], group)
            new_runs[run_id] = row
            if teller is not None:
                told.append((row, teller))
        self._choose_keys(runs, [row for run_id, row in new_runs.items() if run_id not in old_runs])
        self._move(old_runs, new_runs)
        for run_id, row in new_runs.items():
            if run_id in old_runs:
                self.deltas.run(old_runs[run_id], -1)
            self.deltas.run(row, 1)
            for prepared in self.by_run[run_id]:
                prepared.execution["run_key"] = row["key"]
        upsert(self.connection, runs, list(new_runs.values()))
        upsert(self.connection, executions, [prepared.execution for prepared in self.batch])
        self._write_steps()
        self._write_details(told, old_runs)
        follow(self.connection, [(row, teller.indexed) for row, teller in told])
        self.deltas.apply(self.connection)
        _write_events(
            self.connection, (event for prepared in self.batch for event in prepared.indexed.events)
        )
        if ids := [prepared.execution["execution_id"] for prepared in self.batch]:
            self.connection.execute(delete(unreadable).where(unreadable.c.execution_id.in_(ids)))

    def _keep_keys(self) -> None:
        """Executions that are stored keep their key; new ones get one that is free."""
        fresh: list[Row] = []
        for prepared in self.batch:
            stored = self.stored.get(prepared.execution["execution_id"])
            if stored is None:
                fresh.append(prepared.execution)
            else:
                prepared.execution["key"] = stored["key"]
        self._choose_keys(executions, fresh)

    def _choose_keys(self, table: Table, rows: Sequence[Row]) -> None:
        taken = {
            row["key"] for row in _load(self.connection, table, table.c.key, (row["key"] for row in rows))
        }
        for row in rows:
            while row["key"] in taken:
                row["key"] += 1
                if _load(self.connection, table, table.c.key, [row["key"]]):
                    taken.add(row["key"])
            taken.add(row["key"])

    def _move(self, old_runs: dict[str, Row], new_runs: dict[str, Row]) -> None:
        """A run that starts anew, or turns out to have started earlier, gets another place among the runs."""
        for run_id, old in old_runs.items():
            new = new_runs[run_id]
            if new["started"] == old["started"]:
                new["key"] = old["key"]
                continue
            self._choose_keys(runs, [new])
            for table in _BY_RUN:
                moved = update(table).where(table.c.run_key == old["key"]).values(run_key=new["key"])
                self.connection.execute(moved)
            self.connection.execute(delete(runs).where(runs.c.key == old["key"]))

    def _write_steps(self) -> None:
        changed: list[Row] = []
        new_attempts: list[Row] = []
        gone: list[Row] = []
        again = [p.execution for p in self.batch if p.execution["execution_id"] in self.stored]
        old_steps: dict[int, dict[int, Row]] = defaultdict(dict)
        places = {execution["key"]: execution["run_key"] for execution in again}
        for row in _load(
            self.connection, steps, steps.c.execution_key, places, steps.c.run_key, places.values()
        ):
            old_steps[row["execution_key"]][row["position"]] = row
        for prepared in self.batch:
            execution = prepared.execution
            place = {"run_key": execution["run_key"], "execution_key": execution["key"]}
            old_execution = self.stored.get(execution["execution_id"], execution)
            old = old_steps[execution["key"]]
            told_alike = all(
                old_execution[name] == execution[name] for name in ("workflow", "version", "started")
            )
            for step in prepared.steps:
                step.update(place)
                before = old.pop(step["position"], None)
                if before is not None:
                    if before == step and told_alike:
                        continue
                    self.deltas.step(before, old_execution, -1)
                self.deltas.step(step, execution, 1)
                changed.append(step)
            for left in old.values():
                self.deltas.step(left, old_execution, -1)
                gone.append({"r": left["run_key"], "e": left["execution_key"], "p": left["position"]})
            new_attempts += [{**place, **row} for row in prepared.attempts]
        upsert(self.connection, steps, changed)
        if gone:
            self.connection.execute(
                delete(steps).where(
                    steps.c.run_key == bindparam("r"),
                    steps.c.execution_key == bindparam("e"),
                    steps.c.position == bindparam("p"),
                ),
                gone,
            )
        if again:
            self.connection.execute(
                delete(attempts).where(
                    attempts.c.run_key == bindparam("r"), attempts.c.execution_key == bindparam("e")
                ),
                [{"r": execution["run_key"], "e": execution["key"]} for execution in again],
            )
        upsert(self.connection, attempts, new_attempts)

    def _write_details(self, told: Sequence[tuple[Row, _Prepared]], old_runs: dict[str, Row]) -> None:
        upsert(
            self.connection,
            run_details,
            [{"run_key": row["key"], **detail_row(teller.indexed)} for row, teller in told],
        )
        if again := [row["key"] for row, _ in told if row["id"] in old_runs]:
            self.connection.execute(delete(approvals).where(approvals.c.run_key.in_(again)))
        waiting = [
            {"run_key": row["key"], **approval}
            for row, teller in told
            for approval in approval_rows(teller.indexed)
        ]
        upsert(self.connection, approvals, waiting)


def _run_row(
    old: Row | None, stored: Sequence[Row], group: Sequence[_Prepared]
) -> tuple[Row, _Prepared | None]:
    """The row of a run from all its executions, and the new one that tells what the run does now, if one does."""
    changed = {prepared.execution["execution_id"]: prepared for prepared in group}
    every = [row for row in stored if row["execution_id"] not in changed]
    every += [prepared.execution for prepared in group]
    latest = max(every, key=lambda row: (row["started"], row["execution_id"]))
    chain = [row for row in every if row["first_execution_id"] == latest["first_execution_id"]]
    first = min(chain, key=lambda row: (row["started"], row["execution_id"]))
    teller = changed.get(latest["execution_id"])
    row = {name: latest[name] for name in _LATEST}
    row |= {name: sum(execution[name] for execution in chain) for name in _SUMMED}
    if teller is not None:
        row |= told_row(teller.indexed)
    elif old is not None:
        row |= {name: old[name] for name in _TOLD}
    row |= {
        "key": key_of(row["id"], microseconds(first["started"])),
        "started": first["started"],
        "first_task": first["first_task"],
        "duration_us": span_us(first["started"], latest["closed"]),
        "queue_wait_us": span_us(first["started"], first["first_task"]),
        "gap": next((execution["gap"] for execution in chain if execution["gap"]), None),
    }
    return row, teller


def _write_events(connection: Connection, happened: Iterable[Event]) -> None:
    # Of a run that is read again, those that were deleted would be told a second time.
    before = events_pruned_before(connection)
    if before is not None:
        happened = [event for event in happened if event.identity is None or event.at >= before]
    rows = [
        {
            "channel": bounded(event.channel),
            "kind": bounded(event.kind),
            "run_id": None if event.run_id is None else bounded(event.run_id, ID_BYTES),
            "at": event.at,
            "payload": event.payload,
            "identity": None if event.identity is None else bounded(event.identity, ID_BYTES),
            "workflow": None if event.workflow is None else bounded(event.workflow),
        }
        for event in happened
    ]
    insert_new(connection, events, rows, ["identity"])
    if rows:
        announce(connection)


def _load(
    connection: Connection, table: Table, column: ColumnElement[Any], values: Iterable[Any], *more: Any
) -> list[Row]:
    """Rows whose column has one of the values, and so on for further pairs of a column and values."""
    wanted = list(values)
    if not wanted:
        return []
    given = {"p0": wanted} | {f"p{place}": list(others) for place, others in enumerate(more[1::2], 1)}
    return [dict(row) for row in connection.execute(_of(table, column, *more[::2]), given).mappings()]


@cache
def _of(table: Table, *columns: ColumnElement[Any]) -> Select[Any]:
    wanted = (column.in_(bindparam(f"p{place}", expanding=True)) for place, column in enumerate(columns))
    return select(table).where(*wanted)
