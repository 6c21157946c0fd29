"""The raw peer of DAGs: the same graphs written by hand on temporalio, with the options of Holdfast's steps."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client as TemporalClient
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker as TemporalWorker

from benchmarks.ledger import append
from benchmarks.raw_flows import OPTIONS, RawChain, RawFan, beating, raw_increment

RAW_QUEUE = "bench-raw-dag"

RawRun = Callable[..., Awaitable[Any]]
"""Runs a workflow with one argument to its end."""


@activity.defn
@beating
async def raw_add(terms: list[int]) -> int:
    """One more than all terms."""
    return 1 + sum(terms)


@workflow.defn
class RawGraph:
    """Starts each step the moment its sources have ended."""

    @workflow.run
    async def run(self, sources: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Run it."""
        tasks: dict[str, asyncio.Task[int]] = {}

        async def node(before: Sequence[str]) -> int:
            terms = [await tasks[source] for source in before]
            result: int = await workflow.execute_activity(raw_add, terms, **OPTIONS)
            return result

        for name, before in sources.items():
            tasks[name] = asyncio.create_task(node(before))
        needed = {source for before in sources.values() for source in before}
        return {name: await task for name, task in tasks.items() if name not in needed}


@activity.defn
async def raw_note(item: int) -> int:
    """Append the item to the ledger."""
    append(item)
    return item


@workflow.defn
class RawPart:
    """A part of a map: a local activity per item, 125 at a time."""

    @workflow.run
    async def run(self, first: int, count: int) -> list[int]:
        """Run it."""
        places = asyncio.Semaphore(125)

        async def one(item: int) -> int:
            async with places:
                done: int = await workflow.execute_local_activity(
                    raw_note, item, start_to_close_timeout=timedelta(seconds=10)
                )
                return done

        return list(await asyncio.gather(*(one(item) for item in range(first, first + count))))


@workflow.defn
class RawMap:
    """A map in child runs of 500 items, four at a time."""

    @workflow.run
    async def run(self, count: int) -> int:
        """Run it."""
        places = asyncio.Semaphore(4)

        async def part(first: int) -> int:
            async with places:
                args = [first, min(500, count - first)]
                done = await workflow.execute_child_workflow(RawPart.run, args=args)
                return len(done)

        return sum(await asyncio.gather(*(part(first) for first in range(0, count, 500))))


@asynccontextmanager
async def raw_dags(address: str) -> AsyncGenerator[RawRun]:
    """A raw worker, and what runs a workflow on it."""
    client = await TemporalClient.connect(address, data_converter=pydantic_data_converter)

    async def run(flow: Any, argument: Any) -> Any:
        handle = await client.start_workflow(
            flow.run, argument, id=f"raw-{uuid.uuid4().hex}", task_queue=RAW_QUEUE, request_eager_start=True
        )
        return await handle.result()

    async with TemporalWorker(
        client,
        task_queue=RAW_QUEUE,
        workflows=[RawChain, RawFan, RawGraph, RawMap, RawPart],
        activities=[raw_increment, raw_add, raw_note],
        max_concurrent_activities=100,
        max_concurrent_workflow_tasks=100,
    ):
        yield run
