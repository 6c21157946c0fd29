"""Synthetic runs for the benchmark of the store.

The first `WRITTEN` go through the real writer. A million that way takes the better part of an hour and says nothing
new of the writer, so the rest are copies of their rows, made in SQL: moved by whole days, with ids of their own.
Figures by hour and day move with them, so tables and indexes are as the writer would have left them; see `check`.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, cast, func, insert, literal, select

from holdfast.client.description import ErrorInfo, Preview, RunDescription, StepDescription
from holdfast.states import RunState, StepState
from holdfast.store.database import Database
from holdfast.store.filters import RunFilter
from holdfast.store.rollup import DAY
from holdfast.store.rows import IndexedRun, Usage
from holdfast.store.runs import count_runs
from holdfast.store.schema import (
    KEY_BITS,
    attempts,
    executions,
    histograms,
    rollups,
    run_details,
    runs,
    steps,
)
from holdfast.store.writer import write_runs

WRITTEN: Final = 125_000
START: Final = datetime(2025, 11, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
WORKFLOWS: Final = [f"workflow-{number}" for number in range(10)]
STEPS: Final = [f"step-{number}" for number in range(10)]
_KEYS: Final = ("key", "run_key", "execution_key")
_TIMES: Final = ("started", "first_task", "closed", "scheduled", "observed", "start")
_IDS: Final = ("id", "execution_id", "first_execution_id")


def synthetic(first: int, count: int, total: int) -> Iterator[IndexedRun]:
    """Runs with the numbers from `first`, each of ten steps; all `total` of them are spread over a year."""
    for number in range(first, first + count):
        chance = random.Random(number)
        started = START + YEAR * (number / total)
        state = chance.choices(
            [RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED, RunState.RUNNING], [90, 7, 2, 1]
        )[0]
        failed = state is RunState.FAILED
        error = ErrorInfo(
            type=chance.choice(["ValueError", "TimeoutError", "ConnectionError"]),
            message=f"the request {number} to host-{chance.randrange(5)} was refused",
        )
        closed = started + timedelta(seconds=chance.lognormvariate(1, 1.5)) if state.closed else None
        text = f'{{"customer": "customer-{chance.randrange(50_000)}", "total": {chance.randrange(10_000)}}}'
        made = [
            _step(chance, place, started, error if failed and place == 9 else None) for place in range(10)
        ]
        yield IndexedRun(
            run=RunDescription(
                id=f"run-{number}",
                workflow=chance.choice(WORKFLOWS),
                state=state,
                queue=chance.choices(["default", "slow"], [9, 1])[0],
                execution_id=f"{chance.getrandbits(128):032x}",
                started=started,
                closed=closed,
                error=error if failed else None,
                input=[Preview(text=text, size_bytes=len(text), complete=True)],
                steps=made,
                build_id=f"v{number * 5 // total}",
                history_event_count=70,
                history_size_bytes=20_000,
            ),
            observed=started + timedelta(minutes=5),
            first_task=started + timedelta(milliseconds=chance.randrange(50)),
            usage={"step-9-1": Usage(tokens=chance.randrange(1000), cost_micros=chance.randrange(5000))},
        )


def _step(chance: random.Random, place: int, started: datetime, error: ErrorInfo | None) -> StepDescription:
    begun = started + timedelta(milliseconds=100 * place + chance.randrange(20))
    return StepDescription(
        name=STEPS[place],
        ordinal=1,
        activity_id=f"{STEPS[place]}-1",
        state=StepState.FAILED if error else StepState.COMPLETED,
        attempt=3 if error else chance.choices([1, 2], [97, 3])[0],
        scheduled=started + timedelta(milliseconds=100 * place),
        started=begun,
        closed=begun + timedelta(milliseconds=chance.lognormvariate(3, 1)),
        error=error,
        queue="default",
        worker="1@host",
        input=[Preview(text='{"id": 1}', size_bytes=9, complete=True)],
        result=Preview(text='"ok"', size_bytes=4, complete=True),
    )


def fill(database: Database, total: int, written: int) -> float | None:
    """Write what is missing.

    Args:
        database: Where to.
        total: How many runs there shall be: a multiple of `written`, or less.
        written: How many go through the writer.

    Returns:
        Runs per second that the writer took, `None` if it had nothing to do.
    """
    written = min(written, total)
    have = count_runs(database, RunFilter())
    started, batch, rate = time.monotonic(), 1000, None
    for first in range(have, written, batch):
        write_runs(database, list(synthetic(first, min(batch, written - first), total)))
        _show(min(first + batch, written), total, started)
    if have < written:
        rate = (written - have) / (time.monotonic() - started)
    days = -(-YEAR.days * written // total)
    for copy in range(max(have, written) // written, total // written):
        with database.write() as connection:
            _copy(connection, copy, days * copy, f"v{copy * written * 5 // total}", written_days=days)
        _show((copy + 1) * written, total, started)
    if have < total:
        _settle(database)
        check(database, total)
    return rate


def check(database: Database, total: int) -> None:
    """Raise if rows and figures do not tell the same."""
    by_day, by_row = (func.sum(rollups.c[name]) for name in ("count", "duration_us")), (
        func.count(), func.sum(runs.c.duration_us),
    )  # fmt: skip
    with database.read() as connection:
        figures = connection.execute(
            select(*by_day).where(rollups.c.span == "day", rollups.c.step == "")
        ).one()
        rows = connection.execute(select(*by_row)).one()
        step_count = connection.execute(select(func.count()).select_from(steps)).scalar_one()
    if tuple(map(int, figures)) != tuple(map(int, rows)) or rows[0] != total or step_count != 10 * total:
        raise SystemExit(f"the data is damaged, delete it: {figures=} {rows=} {step_count=}")


def _copy(connection: Connection, number: int, days: int, version: str, *, written_days: int) -> None:
    """Copy what was written, so many days later."""
    end = int((START + timedelta(days=written_days)).timestamp() * 1e6)
    key = end << KEY_BITS
    parts = [(runs, runs.c.key < key), (executions, executions.c.key < key)]
    parts += [(table, table.c.run_key < key) for table in (run_details, steps, attempts)]
    parts += [(table, table.c.start < end) for table in (rollups, histograms)]
    for table, written in parts:
        changed = _changes(table, number, days * DAY, version)
        query = select(*(changed.get(column.name, column) for column in table.c)).where(written)
        connection.execute(insert(table).from_select([column.name for column in table.c], query))


def _changes(table: Table, number: int, later: int, version: str) -> Mapping[str, ColumnElement[Any]]:
    changes: dict[str, ColumnElement[Any]] = {}
    for column in table.c:
        if column.name in _KEYS:
            changes[column.name] = column + (later << KEY_BITS)
        elif column.name in _TIMES:
            changes[column.name] = cast(column, BigInteger) + later
        elif column.name in _IDS:
            changes[column.name] = column.concat(f"-{number}")
        elif column.name == "version":
            changes[column.name] = literal(version)
    if table is run_details:  # its text begins with the id
        changes["search"] = func.replace(table.c.search, "\nworkflow-", f"-{number}\nworkflow-")
    return changes


def _settle(database: Database) -> None:
    if database.is_sqlite:
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _show(done: int, total: int, started: float) -> None:
    line = f"  {done:,} of {total:,} runs, {time.monotonic() - started:.0f} s"
    print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
