"""Runs that a stopped worker leaves in memory are discarded by the garbage collector, at any moment, on any thread."""

from __future__ import annotations

import gc

from temporalio.api.enums.v1 import EventType

from holdfast import Client, Worker, wait_for, workflow

from .support import eventually


@workflow
async def waits_and_waits() -> str:
    return await wait_for("word", str)


@workflow(sandboxed=False)
async def collects() -> str:
    gc.collect()
    return "collected"


async def test_a_discarded_run_writes_nothing_into_another(holdfast_client: Client) -> None:
    gc.disable()
    try:
        async with Worker(holdfast_client, [waits_and_waits]):
            left = await holdfast_client.start(waits_and_waits)

            async def waits() -> bool:
                return bool((await left.describe()).waits)

            await eventually(waits)
        async with Worker(holdfast_client, [collects]):
            run = await holdfast_client.start(collects)
            assert await run.result() == "collected"
    finally:
        gc.enable()
    written = {event.event_type for event in (await run.history()).events}
    assert EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED not in written
    await left.terminate()
