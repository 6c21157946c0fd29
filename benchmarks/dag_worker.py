"""A worker in a process of its own, whose memory can be watched: `python -m benchmarks.dag_worker HOME QUEUE`."""

from __future__ import annotations

import asyncio
import sys

from benchmarks import dag_ours as dag_ours  # so that its steps are served
from benchmarks.dag_raw import raw_dags
from holdfast import Client, Worker


async def _serve(home: str, queue: str) -> None:
    async with (
        Client.embedded(home, start=False) as client,
        Worker(client, [], queues=[queue]),
        raw_dags(client.address),
    ):
        print("serving", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:3]))
