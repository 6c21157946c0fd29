"""What tests of triggers of events share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from tests.engine.support import eventually
from tests.indexer.flows import rows

from holdfast import Client, Dag, Worker, emit, workflow
from holdfast.indexer import Indexer
from holdfast.indexer.firing import Firing
from holdfast.store.database import Database
from holdfast.store.schema import dead_letters


@workflow
async def fi_etl(size: int) -> dict[str, Any]:
    return {"rows": size, "text": "x" * size}


@workflow
async def fi_report(rows: int, title: str = "none") -> str:
    return f"{rows} {title}"


@workflow
async def fi_loop(round: int = 0) -> int:
    return round + 1


@workflow
async def fi_outer() -> int:
    return int((await fi_etl(1))["rows"])


@workflow
async def fi_tells() -> None:
    await emit("fi.paid", {"rows": 5})
    await emit("fi.paid", {"rows": 6})


fi_dag = Dag("fi-dag", input_schema={"type": "object", "required": ["rows"]})


@fi_dag.step
async def fi_count(input: dict[str, Any]) -> int:
    return int(input["rows"])


SERVED = [fi_etl, fi_report, fi_loop, fi_outer, fi_tells]


@contextlib.asynccontextmanager
async def served(home: Path) -> AsyncGenerator[Client]:
    """A client with a worker, without triggers and letters in the end."""
    async with Client.embedded(home) as made, Worker(made, SERVED):
        yield made
        for found in await made.triggers.list():
            await made.triggers.delete(found.name)
        database = await made.store.database()
        with database.write() as connection:
            connection.execute(dead_letters.delete())


async def fired(client: Client, name: str, count: int = 1) -> list[Any]:
    """Index and fire until a trigger has started so many runs, and their results."""
    database = await client.store.database()

    async def look() -> Any:
        await Indexer(client.temporal, database).catch_up()
        await Firing(client.temporal, database).step()
        query = f'WorkflowId STARTS_WITH "trigger-{name}-"'
        found = [
            run
            async for run in client.temporal.list_workflows(query)
            if "holdfast.trigger" in await run.memo()
        ]
        return found if len(found) >= count else None

    found = await eventually(look, 30)
    return [await client.get(run.id).result() for run in reversed(found)]


def letters(database: Database) -> list[dict[str, Any]]:
    return [row for row in rows(database, dead_letters) if row["kind"] == "trigger"]
