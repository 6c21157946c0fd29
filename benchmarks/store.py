"""`make bench-store`: the read model with many runs, on SQLite and PostgreSQL; p95 of what is asked, against limits.

The rows go through the real writer, and stay in the folder for the next time: `--folder`, else `.bench-store`.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.store.postgres import Postgres

from holdfast.client.description import ErrorInfo, Preview, RunDescription, StepDescription
from holdfast.states import RunState, StepState
from holdfast.store import analytics
from holdfast.store.database import Database
from holdfast.store.export import export_runs
from holdfast.store.filters import RunFilter
from holdfast.store.rows import IndexedRun, Usage
from holdfast.store.runs import count_runs, facet_runs, list_runs
from holdfast.store.writer import write_runs

START = datetime(2025, 11, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
WORKFLOWS = [f"workflow-{number}" for number in range(10)]
STEPS = [f"step-{number}" for number in range(10)]


@dataclass(frozen=True)
class Query:
    """Something that is asked, and how long the 95th of 100 may take."""

    name: str
    limit_ms: float
    ask: Callable[[Database], Any]


QUERIES = [
    Query("first page", 50, lambda db: list_runs(db, RunFilter())),
    Query("page: one state", 50, lambda db: list_runs(db, RunFilter(states=[RunState.FAILED]))),
    Query("page: three states, two workflows", 50, lambda db: list_runs(db, _mixed())),
    Query("page: workflow, in the middle", 50, lambda db: list_runs(db, _middle(db))),
    Query("page: queue, version", 50, lambda db: list_runs(db, RunFilter(queues=["slow"], versions=["v3"]))),
    Query("page: error fingerprint", 50, lambda db: list_runs(db, RunFilter(fingerprint=_fingerprint(db)))),
    Query("page: a week", 50, lambda db: list_runs(db, _week(workflows=WORKFLOWS[:1]))),
    Query("search: rare", 200, lambda db: list_runs(db, RunFilter(text="customer-4711"))),
    Query("search: frequent", 200, lambda db: list_runs(db, RunFilter(text="customer"))),
    Query("search: 3 characters", 200, lambda db: list_runs(db, RunFilter(text="471"))),
    Query("search: nothing", 200, lambda db: list_runs(db, RunFilter(text="no such words"))),
    Query("summary: all", 300, lambda db: analytics.summary(db, RunFilter())),
    Query(
        "summary: workflow, 30 days",
        300,
        lambda db: analytics.summary(db, _week(days=30, workflows=WORKFLOWS[:1])),
    ),
    Query("trends: a year by day", 500, lambda db: analytics.trends(db, RunFilter())),
    Query("trends: a year as heatmap", 500, lambda db: analytics.trends(db, RunFilter(), "heatmap")),
    Query("steps: all", 500, lambda db: analytics.steps(db, RunFilter())),
    Query(
        "any filter: count",
        1500,
        lambda db: count_runs(db, RunFilter(queues=["slow"], error_type="ValueError")),
    ),
    Query(
        "any filter: summary", 1500, lambda db: analytics.summary(db, RunFilter(queues=["slow"], dag=False))
    ),
    Query("any filter: steps", 1500, lambda db: analytics.steps(db, RunFilter(queues=["slow"]))),
    Query("errors by fingerprint", 1500, lambda db: facet_runs(db, RunFilter(), "fingerprint")),
]


def _mixed() -> RunFilter:
    states = [RunState.FAILED, RunState.RUNNING, RunState.COMPLETED]
    return RunFilter(states=states, workflows=WORKFLOWS[:2])


def _middle(_: Database) -> RunFilter:
    return RunFilter(workflows=WORKFLOWS[3:4], started_to=START + YEAR / 2)


def _week(*, days: int = 7, workflows: list[str]) -> RunFilter:
    # Not on the hour: the ends are read from rows.
    first = START + timedelta(days=100, minutes=17)
    return RunFilter(started_from=first, started_to=first + timedelta(days=days), workflows=workflows)


def _fingerprint(database: Database) -> str:
    run = list_runs(database, RunFilter(states=[RunState.FAILED]), limit=1).runs[0]
    return run.fingerprint or ""


def synthetic(first: int, count: int, total: int) -> Iterator[IndexedRun]:
    """Runs with the numbers from `first`, spread over a year, each of ten steps."""
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
        steps = [
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
                steps=steps,
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


def fill(database: Database, total: int) -> float | None:
    """Write what is missing; runs per second."""
    have = count_runs(database, RunFilter())
    started, batch = time.monotonic(), 1000
    for first in range(have, total, batch):
        write_runs(database, list(synthetic(first, min(batch, total - first), total)))
        if sys.stderr.isatty():
            done, seconds = first + batch, time.monotonic() - started
            left = seconds / (done - have) * (total - done)
            print(
                f"\r  {min(done, total):,} of {total:,} runs, {max(left, 0):.0f} s left  ",
                end="",
                file=sys.stderr,
            )
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    return (total - have) / (time.monotonic() - started) if total > have else None


def measure(database: Database, name: str, rounds: int) -> bool:
    """Print the p95 of each query; whether all limits hold."""
    good = True
    for query in QUERIES:
        limit = query.limit_ms
        query.ask(database)  # what it reads is in memory then, as it is of a console that is open
        took: list[float] = []
        for _ in range(rounds):
            before = time.perf_counter()
            query.ask(database)
            took.append((time.perf_counter() - before) * 1000)
        p95 = sorted(took)[int(0.95 * (rounds - 1))]
        counts = not (query.name.startswith("search") and not database.has_search_index)
        good &= p95 <= limit or not counts
        verdict = "ok" if p95 <= limit else "TOO SLOW" if counts else "no pg_trgm"
        print(f"  {name:<10} {query.name:<36} {p95:9.1f} ms  (limit {limit:5.0f} ms)  {verdict}", flush=True)
    return good


def measure_export(database: Database, name: str) -> bool:
    """Print how long an export of all takes, and how much memory."""
    for _ in zip(range(3), export_runs(database, RunFilter()), strict=False):
        pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, size = time.monotonic(), 0
    for piece in export_runs(database, RunFilter()):
        size += len(piece)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = time.monotonic() - started
    verdict = "ok" if grown < 100 else "TOO MUCH"
    print(
        f"  {name:<10} export of {size / 1e6:,.0f} MB: {seconds:.1f} s, {grown:.0f} MB more (limit 100)  {verdict}"
    )
    return grown < 100


def main() -> int:
    """Fill and measure both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=40, help="how often each query is asked")
    parser.add_argument("--folder", type=Path, default=Path(".bench-store"), help="where the data stays")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument(
        "--postgres-bin", type=Path, help="the programs of another PostgreSQL, such as one with pg_trgm"
    )
    given = parser.parse_args()
    folder: Path = given.folder.resolve() / str(given.runs)
    folder.mkdir(parents=True, exist_ok=True)
    good = True
    for name in ("sqlite", "postgresql"):
        if given.only in (None, name):
            good &= _one(name, folder, given)
    return 0 if good else 1


def _one(name: str, folder: Path, given: argparse.Namespace) -> bool:
    server = None
    if name == "postgresql":
        kind = "postgresql-own" if given.postgres_bin else name
        settings = ("shared_buffers=1GB", "work_mem=64MB", "max_wal_size=4GB")
        server = Postgres(folder / kind, bin_folder=given.postgres_bin, settings=settings)
        server.start()
    database = Database.open(server.url() if server else folder / "history.db")
    try:
        rate = fill(database, given.runs)
        if rate:
            print(f"\n  {name:<10} written: {rate:,.0f} runs/s of 10 steps each")
        return measure(database, name, given.rounds) & measure_export(database, name)
    finally:
        database.close()
        if server:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
