"""A workflow of plain Temporal, as other teams write them, and what the tests ask of the store."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, select
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.engine.support import eventually

from holdfast.indexer import Indexer
from holdfast.store.database import Database
from holdfast.store.schema import (
    approvals,
    attempts,
    events,
    executions,
    histograms,
    rollups,
    run_details,
    runs,
    steps,
)

_LIMIT = timedelta(seconds=20)
_OWN = {"key", "run_key", "execution_key", "cursor", "observed"}
"""What depends on when and in which order runs were stored."""


@activity.defn(name="add")
async def add(number: int) -> int:
    if number < 0:
        raise ApplicationError("below zero", type="BadNumber", non_retryable=True)
    if activity.info().attempt == 1 and number == 7:
        raise ConnectionError("once")
    return number + 1


@workflow.defn(name="raw")
class Raw:
    def __init__(self) -> None:
        self._go = False

    @workflow.run
    async def run(self, number: int, then: str = "") -> int:
        if then == "wait":
            await workflow.wait_condition(lambda: self._go)
        if then == "child":
            child = f"{workflow.info().workflow_id}/c"
            return await workflow.execute_child_workflow(Raw.run, number, id=child)
        result = await workflow.execute_activity(
            add,
            number,
            start_to_close_timeout=_LIMIT,
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=20)),
        )
        if then.startswith("again"):
            left = int(then.removeprefix("again"))
            workflow.continue_as_new(args=[result, f"again{left - 1}" if left > 1 else ""])
        return result

    @workflow.signal
    def go(self) -> None:
        self._go = True


def worker(client: Client, queue: str) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=[Raw],
        activities=[add],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


async def start(client: Client, queue: str, *args: Any) -> WorkflowHandle[Any, Any]:
    name = f"r-{uuid.uuid4().hex[:12]}"
    return await client.start_workflow("raw", args=list(args), id=name, task_queue=queue)


def rows(database: Database, table: Table, **where: Any) -> list[dict[str, Any]]:
    query = select(table).order_by(*table.primary_key)
    for name, value in where.items():
        query = query.where(table.c[name] == value)
    with database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def kinds(database: Database, run_id: str) -> list[str]:
    return sorted(row["kind"] for row in rows(database, events, run_id=run_id))


async def indexed(indexer: Indexer, database: Database, run_id: str, state: str) -> dict[str, Any]:
    """Catch up until the run is stored with that state."""

    async def look() -> dict[str, Any] | None:
        await indexer.catch_up()
        found = rows(database, runs, id=run_id)
        return found[0] if found and found[0]["state"] == state else None

    found: dict[str, Any] = await eventually(look, 30)
    return found


def contents(database: Database) -> dict[str, Counter[str]]:
    """All that is stored of runs, without what depends on when and in which order they were, and sums of nothing."""

    def own(row: dict[str, Any]) -> set[str]:
        # Temporal tells the times of earlier attempts only while they run.
        return _OWN | {"at"} if row.get("kind") in ("step.started", "step.retrying") else _OWN

    tables = (runs, run_details, executions, steps, attempts, approvals, rollups, histograms, events)
    return {
        table.name: Counter(
            repr({name: value for name, value in row.items() if name not in own(row)})
            for row in rows(database, table)
            if row.get("count") != 0
        )
        for table in tables
    }
