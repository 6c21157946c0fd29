"""A Temporal server of its own on a file: histories that are damaged or deleted, and a server that is away."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError
from tests.engine.conftest import TEMPORAL, free_port, listening
from tests.engine.support import eventually
from tests.indexer.flows import indexed, rows, start, worker

from holdfast.errors import Unavailable
from holdfast.indexer import Indexer
from holdfast.indexer.progress import GONE
from holdfast.store.database import Database
from holdfast.store.schema import runs, unreadable


class Server:
    """Temporal on a file, started and stopped at will."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(TEMPORAL), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
        command += ["--port", str(self.port), "--db-filename", str(self.file)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not listening(self.port):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "temporal.db")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = Database.open(tmp_path / "history.db")
    yield database
    database.close()


async def connected(server: Server) -> Client:
    client: Client | None = None

    async def answers() -> Client | None:
        nonlocal client
        try:
            client = client or await Client.connect(server.address)
            await client.count_workflows()
        except Exception:  # noqa: BLE001 - it listens before it answers
            return None
        return client

    found: Client = await eventually(answers, 30)
    return found


def damage(file: Path, execution_id: str) -> None:
    """Write nonsense over the events of one execution."""
    with sqlite3.connect(file) as connection:
        tree = uuid.UUID(execution_id).bytes
        changed = connection.execute(
            "UPDATE history_node SET data = ? WHERE tree_id = ?", (b"\xff\xfenonsense", tree)
        )
        assert changed.rowcount > 0
    connection.close()


async def test_a_damaged_history_is_kept_aside_and_the_others_go_on(server: Server, store: Database) -> None:
    client = await connected(server)
    async with worker(client, "raw"):
        handles = [await start(client, "raw", number) for number in range(4)]
        for handle in handles:
            await handle.result()
    server.stop()
    damaged, *whole = handles
    assert damaged.first_execution_run_id is not None
    damage(server.file, damaged.first_execution_run_id)
    server.start()
    indexer = Indexer(await connected(server), store)
    for handle in whole:
        await indexed(indexer, store, handle.id, "completed")
    assert rows(store, runs, id=damaged.id) == []
    (aside,) = rows(store, unreadable)
    assert (aside["run_id"], aside["execution_id"]) == (damaged.id, damaged.first_execution_run_id)
    assert aside["reason"]


async def test_a_server_that_is_away_is_waited_for(server: Server, store: Database) -> None:
    client = await connected(server)
    indexer = Indexer(client, store)
    running = asyncio.create_task(indexer.run())
    try:

        async def begun() -> bool:
            return indexer.counts.rounds > 0

        await eventually(begun, 30)
        async with worker(client, "raw"):
            handle = await start(client, "raw", 1, "wait")
            await indexed(Indexer(client, store), store, handle.id, "waiting")
        server.stop()

        async def noticed() -> bool:
            return indexer.problem is not None

        await eventually(noticed, 60)
        with pytest.raises(Unavailable):
            await Indexer(client, store).catch_up()
        server.start()
        client = await connected(server)
        async with worker(client, "raw"):
            await client.get_workflow_handle(handle.id).signal("go")

            async def ended() -> bool:
                return rows(store, runs, id=handle.id)[0]["state"] == "completed"

            await eventually(ended, 60)
        assert not running.done()
        assert indexer.problem is None
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_run_that_temporal_deleted_while_it_was_open_says_so(server: Server, store: Database) -> None:
    client = await connected(server)
    indexer = Indexer(client, store)
    async with worker(client, "raw"):
        handle = await start(client, "raw", 1, "wait")
        await indexed(indexer, store, handle.id, "waiting")
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace="default", workflow_execution=WorkflowExecution(workflow_id=handle.id)
            )
        )

        async def told() -> dict[str, Any] | None:
            await indexer.catch_up()
            (row,) = rows(store, runs, id=handle.id)
            return row if row["gap"] is not None or row["state"] == "terminated" else None

        row = await eventually(told, 60)
        # Temporal ends it before it deletes it; the indexer may come between.
        assert (row["state"], row["gap"]) in {("terminated", None), ("terminated", GONE), ("waiting", GONE)}
        assert indexer.problem is None


def remove(file: Path, execution_id: str) -> None:
    """Delete the events of one execution, as retention does before the lists forget it."""
    with sqlite3.connect(file) as connection:
        tree = uuid.UUID(execution_id).bytes
        for table in ("history_node", "history_tree"):
            connection.execute(f"DELETE FROM {table} WHERE tree_id = ?", (tree,))
    connection.close()


async def test_a_deleted_history_is_a_gap(server: Server, store: Database) -> None:
    client = await connected(server)
    async with worker(client, "raw"):
        read_before = await start(client, "raw", 1)
        await indexed(Indexer(client, store), store, read_before.id, "completed")
        handle = await start(client, "raw", 1)
        await handle.result()
    server.stop()
    for one in (handle, read_before):
        assert one.first_execution_run_id is not None
        remove(server.file, one.first_execution_run_id)
    server.start()
    indexer = Indexer(await connected(server), store)

    async def listed() -> bool:
        await indexer.rebuild()
        return bool(rows(store, runs, id=handle.id) or rows(store, unreadable))

    await eventually(listed, 30)
    assert rows(store, unreadable) == []
    (kept,) = rows(store, runs, id=read_before.id)
    assert (kept["gap"], kept["step_count"]) == (None, 1), "what was read before the deletion stays"
    (row,) = rows(store, runs, id=handle.id)
    assert (row["id"], row["state"], row["step_count"]) == (handle.id, "completed", 0)
    assert "deleted" in row["gap"]
    assert row["closed"] is not None


async def test_a_run_whose_first_executions_are_deleted_says_so(server: Server, store: Database) -> None:
    client = await connected(server)
    async with worker(client, "raw"):
        handle = await start(client, "raw", 1, "again2")
        assert await handle.result() == 4
        first = handle.first_execution_run_id
        assert first is not None
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=first),
            )
        )

        async def deleted() -> bool:
            try:
                await client.get_workflow_handle(handle.id, run_id=first).describe()
            except RPCError:
                return True
            return False

        await eventually(deleted, 60)

        async def both_stored() -> bool:
            anew = Indexer(client, store)
            await anew.rebuild()
            found = rows(store, runs, id=handle.id)
            return bool(found) and found[0]["step_count"] == 2

        await eventually(both_stored, 60)
    (row,) = rows(store, runs, id=handle.id)
    assert (row["state"], row["first_execution_id"]) == ("completed", first)
    assert "earlier executions" in row["gap"]
