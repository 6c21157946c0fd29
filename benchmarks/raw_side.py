"""The raw peer. It imports nothing of Holdfast, so that its memory is its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client as TemporalClient
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker as TemporalWorker

from benchmarks import raw_flows
from benchmarks.side import Side


@asynccontextmanager
async def raw_side(address: str, *, eager: bool = True) -> AsyncIterator[Side]:
    """Raw temporalio, with the eager start and the options that Holdfast uses."""
    client = await TemporalClient.connect(address, data_converter=pydantic_data_converter)
    kinds = {
        "chain": raw_flows.RawChain,
        "fan": raw_flows.RawFan,
        "local_chain": raw_flows.RawLocalChain,
        "local_fan": raw_flows.RawLocalFan,
    }

    async def run(kind: str, count: int) -> int:
        handle = await client.start_workflow(
            kinds[kind].run,  # type: ignore[attr-defined]
            count,
            id=f"raw-{uuid.uuid4().hex}",
            task_queue="bench-raw",
            request_eager_start=eager,
            task_timeout=timedelta(seconds=2) if kind.startswith("local") else None,
        )
        return int(await handle.result())

    async with TemporalWorker(
        client,
        task_queue="bench-raw",
        workflows=list(kinds.values()),
        activities=[raw_flows.raw_increment],
        max_concurrent_activities=100,
        max_concurrent_workflow_tasks=100,
    ):
        yield Side(name="raw", run=run)
