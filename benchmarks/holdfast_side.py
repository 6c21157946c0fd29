"""Holdfast, as a user gets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import holdfast_flows, narrow_flows, wide_flows
from benchmarks.side import Side
from holdfast import Client, Worker


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
