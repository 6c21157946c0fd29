"""A process of its own: `worker`, or `start WORKFLOW ID ARGUMENT...`, whose result is waited for."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import timedelta

from tests.telemetry import flows

from holdfast import Client, Worker
from holdfast_server.worker_host import serve as host


async def serve(home: str, metrics: str | None) -> None:
    async with Client.embedded(home, metrics=metrics) as client:
        served = [flows.sells, flows.refuses, flows.counts, flows.outer, flows.inner, flows.turns]
        worker = Worker(client, served, drain=timedelta(seconds=5))
        await host(worker, lambda: print("serving", flush=True))


async def start(home: str, name: str, run_id: str, *arguments: str) -> None:
    async with Client.embedded(home) as client:
        try:
            print(await client.run(getattr(flows, name), *arguments, id=run_id), flush=True)
        except Exception as error:  # noqa: BLE001 - the test looks at what the process printed
            print(type(error).__name__, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    kind, home, *rest = sys.argv[1:]
    if kind == "worker":
        asyncio.run(serve(home, rest[0] if rest else None))
    else:
        asyncio.run(start(home, *rest))
