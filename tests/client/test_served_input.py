"""Another input for a run whose code is in other processes, as on the command line, is checked before it is started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.store.made import failed, shown

from holdfast import Client, Dag, InvalidInput
from holdfast.authoring.offers import arguments_schema
from holdfast.authoring.workflow import Workflow
from holdfast.engine.start_memo import spec_memo
from holdfast.indexer import Indexer
from holdfast.options import WorkflowOptions
from holdfast.store.catalogues import ServedBy, publish_catalogue
from holdfast.store.writer import write_runs

counting = Dag("counting", input_schema={"type": "object", "required": ["rows"]})


@counting.step
async def count_rows(input: dict[str, Any]) -> int:
    return int(input["rows"])


async def elsewhere(count: int, note: str) -> None: ...


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as made:
        yield made


async def test_another_input_is_checked_by_what_workers_have_published(client: Client) -> None:
    unregistered: Workflow[[int, str], None] = Workflow(
        elsewhere, name="elsewhere", options=WorkflowOptions()
    )
    document = {
        "workflows": [{"name": "elsewhere", "input_schema": arguments_schema(unregistered.signature)}]
    }
    facts: dict[str, Any] = {"build_id": None, "deployment": None, "holdfast": "1"}
    now = datetime.now(UTC)
    worker = ServedBy(identity="1@x", queue="default", hash="h", started=now, seen=now, **facts)
    await client.store.call(publish_catalogue, document, [worker])
    await client.temporal.start_workflow(
        "elsewhere",
        args=[1, "x"],
        id="else-1",
        task_queue="default",
        memo=spec_memo(unregistered, stored=False),
    )
    for wrong, said in (([7, 8], "note"), (["many", "x"], "count"), (7, "2 arguments")):
        with pytest.raises(InvalidInput, match=said):
            await client.get("else-1").fork(input=wrong, id="else-2")
    await client.get("else-1").fork(input=[7, "x"], id="else-2")
    # A letter whose run Temporal has deleted, and a DAG, whose document says what it takes.
    await Indexer(client.temporal, await client.store.database()).catch_up()
    gone = failed("gone", "no", workflow="elsewhere", queue="default", input=[shown("1"), shown('"x"')])
    await client.store.call(write_runs, [gone])
    [letter] = await client.dead_letters.list()
    with pytest.raises(InvalidInput, match="count"):
        await client.dead_letters.redrive(letter.id, input=["many", "x"])
    assert (await client.dead_letters.redrive(letter.id, input=[7, "x"])).status == "retrying"
    await client.start(counting, {"rows": 1}, id="dag-1")
    with pytest.raises(InvalidInput, match="rows"):
        await client.get("dag-1").fork(input={}, id="dag-2")
