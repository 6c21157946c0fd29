"""What the indexer stores of runs on a real server."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from tests.engine.support import eventually
from tests.indexer.flows import indexed, kinds, rows, start

from holdfast.errors import InvalidConfiguration
from holdfast.indexer import Indexer, lag_of
from holdfast.store.database import Database
from holdfast.store.schema import events, executions, runs, steps, unreadable


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


async def test_a_database_is_for_one_namespace(temporal: Client, database: Database) -> None:
    await Indexer(temporal, database).catch_up()
    config = temporal.config()
    config["namespace"] = "another"
    with pytest.raises(InvalidConfiguration, match="'default', and this is 'another'"):
        await Indexer(Client(**config), database).catch_up()
