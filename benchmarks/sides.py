"""The two sides of each pair: how one runs a named piece of work."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client as TemporalClient
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker as TemporalWorker

from benchmarks import holdfast_flows, narrow_flows, raw_flows, wide_flows
from holdfast import Client, Worker

Runner = Callable[[str, int], Awaitable[int]]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One peer: `run(kind, count)` runs a workflow of that kind to its end."""

    name: str
    run: Runner


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


@asynccontextmanager
async def holdfast_side(client: Client) -> AsyncIterator[Side]:
    """Holdfast, as a user gets it."""
    kinds = {
        "chain": holdfast_flows.chain,
        "fan": holdfast_flows.fan,
        "local_chain": holdfast_flows.local_chain,
        "local_fan": holdfast_flows.local_fan,
        "wide": wide_flows.wide,
        "narrow": narrow_flows.narrow,
    }

    async def run(kind: str, count: int) -> int:
        return await client.run(kinds[kind], count, queue="bench-holdfast")

    async with Worker(client, list(kinds.values()), queues=["bench-holdfast"]):
        yield Side(name="holdfast", run=run)
