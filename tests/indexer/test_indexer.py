"""What the indexer stores of runs on a real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.engine.support import eventually

from holdfast.indexer import Indexer, lag_of
from holdfast.store.database import Database
from holdfast.store.schema import events, executions, runs, steps, unreadable

SOON = timedelta(seconds=20)


@activity.defn(name="add")
async def add(number: int) -> int:
    if number < 0:
        raise ApplicationError("below zero", type="BadNumber", non_retryable=True)
    if activity.info().attempt == 1 and number == 7:
        raise ConnectionError("once")
    return number + 1


@workflow.defn(name="raw")
class Raw:
    """As other teams write them, without Holdfast."""

    def __init__(self) -> None:
        self._go = False

    @workflow.run
    async def run(self, number: int, then: str = "") -> int:
        if then == "wait":
            await workflow.wait_condition(lambda: self._go)
        if then == "child":
            return await workflow.execute_child_workflow(
                Raw.run, number, id=f"{workflow.info().workflow_id}/c"
            )
        result = await workflow.execute_activity(
            add,
            number,
            start_to_close_timeout=SOON,
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=20)),
        )
        if then.startswith("again"):
            left = int(then.removeprefix("again"))
            workflow.continue_as_new(args=[result, f"again{left - 1}" if left > 1 else ""])
        return result

    @workflow.signal
    def go(self) -> None:
        self._go = True


@pytest.fixture
async def queue(temporal: Client) -> AsyncGenerator[str]:
    name = f"raw-{uuid.uuid4().hex[:8]}"
    async with Worker(
        temporal,
        task_queue=name,
        workflows=[Raw],
        activities=[add],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield name


async def start(temporal: Client, queue: str, *args: Any) -> WorkflowHandle[Any, Any]:
    return await temporal.start_workflow(
        "raw", args=list(args), id=f"r-{uuid.uuid4().hex[:12]}", task_queue=queue
    )


def rows(database: Database, table: Any, **where: Any) -> list[dict[str, Any]]:
    query = select(table).order_by(*table.primary_key)
    for name, value in where.items():
        query = query.where(table.c[name] == value)
    with database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


async def indexed(indexer: Indexer, database: Database, run_id: str, state: str) -> dict[str, Any]:
    """Catch up until the run is stored with that state."""

    async def look() -> dict[str, Any] | None:
        await indexer.catch_up()
        found = rows(database, runs, id=run_id)
        return found[0] if found and found[0]["state"] == state else None

    found: dict[str, Any] = await eventually(look, 30)
    return found


def kinds(database: Database, run_id: str) -> list[str]:
    return sorted(row["kind"] for row in rows(database, events, run_id=run_id))


async def test_a_workflow_of_plain_temporal_is_stored(
    temporal: Client, queue: str, database: Database
) -> None:
    handle = await start(temporal, queue, 7)
    assert await handle.result() == 8
    row = await indexed(Indexer(temporal, database), database, handle.id, "completed")
    assert (row["workflow"], row["step_count"], row["retry_count"], row["queue"]) == ("raw", 1, 1, queue)
    assert row["closed"] is not None
    assert row["first_task"] is not None
    (step,) = rows(database, steps, run_key=row["key"])
    assert (step["name"], step["state"], step["attempt"]) == ("add", "completed", 2)
    told = ["step.completed", "step.retrying", "step.started", "workflow.completed", "workflow.started"]
    assert kinds(database, handle.id) == told


async def test_catching_up_again_stores_nothing_more(
    temporal: Client, queue: str, database: Database
) -> None:
    handle = await start(temporal, queue, 1)
    await handle.result()
    indexer = Indexer(temporal, database)
    await indexed(indexer, database, handle.id, "completed")
    before = rows(database, runs), rows(database, steps), rows(database, events)
    again = Indexer(temporal, database)
    await again.catch_up()
    assert again.counts.stored == 0
    assert (rows(database, runs), rows(database, steps), rows(database, events)) == before
    lag = lag_of(database)
    assert lag is not None
    assert lag < timedelta(minutes=1)


async def test_an_open_run_is_stored_and_then_its_end(
    temporal: Client, queue: str, database: Database
) -> None:
    handle = await start(temporal, queue, 1, "wait")
    indexer = Indexer(temporal, database)
    row = await indexed(indexer, database, handle.id, "waiting")
    assert row["closed"] is None
    assert kinds(database, handle.id) == ["workflow.started"]
    await handle.signal("go")
    await handle.result()
    row = await indexed(indexer, database, handle.id, "completed")
    assert row["step_count"] == 1
    assert len(kinds(database, handle.id)) == 4


async def test_a_failure_is_stored_with_its_step(temporal: Client, queue: str, database: Database) -> None:
    handle = await start(temporal, queue, -1)
    row = await indexed(Indexer(temporal, database), database, handle.id, "failed")
    assert (row["error_type"], row["error_step"], row["failed_step_count"]) == ("BadNumber", "add", 1)
    (ended,) = [row for row in rows(database, events, run_id=handle.id) if row["kind"] == "workflow.failed"]
    assert ended["payload"]["failed_step"] == "add"
    assert ended["payload"]["error"]["type"] == "BadNumber"


async def test_executions_that_continue_each_other_are_one_run(
    temporal: Client, queue: str, database: Database
) -> None:
    handle = await start(temporal, queue, 1, "again3")
    assert await handle.result() == 5
    indexer = Indexer(temporal, database)

    async def whole() -> dict[str, Any] | None:
        row = await indexed(indexer, database, handle.id, "completed")
        return row if row["step_count"] == 4 else None

    row = await eventually(whole)
    chain = rows(database, executions, run_key=row["key"])
    assert len(chain) == 4
    assert {part["first_execution_id"] for part in chain} == {handle.first_execution_run_id}
    assert kinds(database, handle.id).count("workflow.started") == 1
    assert kinds(database, handle.id).count("workflow.completed") == 1


async def test_a_child_names_its_parent(temporal: Client, queue: str, database: Database) -> None:
    handle = await start(temporal, queue, 1, "child")
    await handle.result()
    indexer = Indexer(temporal, database)
    await indexed(indexer, database, handle.id, "completed")
    child = await indexed(indexer, database, f"{handle.id}/c", "completed")
    assert child["parent"] == handle.id


async def test_a_running_indexer_follows(temporal: Client, queue: str, database: Database) -> None:
    indexer = Indexer(temporal, database)
    running = asyncio.create_task(indexer.run())
    try:
        handle = await start(temporal, queue, 1)
        await handle.result()

        async def there() -> bool:
            return [row["state"] for row in rows(database, runs, id=handle.id)] == ["completed"]

        await eventually(there, 30)
        assert indexer.problem is None
        assert rows(database, unreadable) == []
    finally:
        running.cancel()
        await asyncio.wait([running])
