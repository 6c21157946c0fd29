"""What the benchmark of the store asks, and how long the 95th of 100 may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from benchmarks.store_data import START, WORKFLOWS, YEAR
from holdfast.run_filter import RunFilter
from holdfast.states import RunState
from holdfast.store import analytics
from holdfast.store.database import Database
from holdfast.store.runs import count_runs, facet_runs, list_runs


@dataclass(frozen=True)
class Query:
    """Something that is asked."""

    name: str
    limit_ms: float
    ask: Callable[[Database], Any]

    @property
    def needs_search_index(self) -> bool:
        """Whether its limit holds only where substrings are found by an index."""
        return self.name.startswith("search")


def _mixed() -> RunFilter:
    states = [RunState.FAILED, RunState.RUNNING, RunState.COMPLETED]
    return RunFilter(states=states, workflows=WORKFLOWS[:2])


def _middle() -> RunFilter:
    return RunFilter(workflows=WORKFLOWS[3:4], started_to=START + YEAR / 2)


def _week(*, days: int = 7, workflows: list[str]) -> RunFilter:
    # Not on the hour: the ends are read from rows.
    first = START + timedelta(days=100, minutes=17)
    return RunFilter(started_from=first, started_to=first + timedelta(days=days), workflows=workflows)


def _fingerprint(database: Database) -> str:
    run = list_runs(database, RunFilter(states=[RunState.FAILED]), limit=1).runs[0]
    return run.fingerprint or ""


SLOW = RunFilter(queues=["slow"])
CODE = RunFilter(queues=["slow"], dag=False)

QUERIES = [
    Query("first page", 50, lambda db: list_runs(db, RunFilter())),
    Query("page: one state", 50, lambda db: list_runs(db, RunFilter(states=[RunState.FAILED]))),
    Query("page: three states, two workflows", 50, lambda db: list_runs(db, _mixed())),
    Query("page: workflow, in the middle", 50, lambda db: list_runs(db, _middle())),
    Query("page: queue, version", 50, lambda db: list_runs(db, RunFilter(queues=["slow"], versions=["v3"]))),
    Query("page: error fingerprint", 50, lambda db: list_runs(db, RunFilter(fingerprint=_fingerprint(db)))),
    Query("page: a week", 50, lambda db: list_runs(db, _week(workflows=WORKFLOWS[:1]))),
    Query("search: rare", 200, lambda db: list_runs(db, RunFilter(text="customer-4711"))),
    Query("search: frequent", 200, lambda db: list_runs(db, RunFilter(text="customer"))),
    Query("search: 3 characters", 200, lambda db: list_runs(db, RunFilter(text="471"))),
    Query("search: nothing", 200, lambda db: list_runs(db, RunFilter(text="no such words"))),
    Query("summary: all", 300, lambda db: analytics.summary(db, RunFilter())),
    Query(
        "summary: workflow, 30 days", 300,
        lambda db: analytics.summary(db, _week(days=30, workflows=WORKFLOWS[:1])),
    ),
    Query("trends: a year by day", 500, lambda db: analytics.trends(db, RunFilter())),
    Query("trends: a year by hour", 500, lambda db: analytics.trends(db, RunFilter(), "hour")),
    Query("trends: a year as heatmap", 500, lambda db: analytics.trends(db, RunFilter(), "heatmap")),
    Query("steps: all", 500, lambda db: analytics.steps(db, RunFilter())),
    Query("by workflow", 500, lambda db: analytics.by_value(db, RunFilter())),
    Query("by queue", 1500, lambda db: analytics.by_value(db, RunFilter(), "queue")),
    Query("any filter: count", 1500, lambda db: count_runs(db, RunFilter(queues=["slow"], error_type="ValueError"))),
    Query("any filter: summary", 1500, lambda db: analytics.summary(db, CODE)),
    Query("any filter: trends", 1500, lambda db: analytics.trends(db, CODE)),
    Query("any filter: steps", 1500, lambda db: analytics.steps(db, SLOW)),
    Query("any filter: summary of a text", 1500, lambda db: analytics.summary(db, RunFilter(text="customer-47"))),
    Query("errors by fingerprint", 1500, lambda db: facet_runs(db, RunFilter(), "fingerprint")),
]  # fmt: skip
