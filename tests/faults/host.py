"""A worker in a process of its own: `python -m tests.faults.host OPTIONS`, with the options as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import timedelta
from typing import Any

from holdfast import Client, Worker


async def serve(
    home: str, served: list[str], drain: float, options: dict[str, Any], via: str | None = None
) -> None:
    async with Client.embedded(home=home, via=via) as client:
        worker = Worker(client, served, drain=timedelta(seconds=drain), **options)
        run = asyncio.create_task(worker.run())
        while worker.health_port == 0:  # noqa: ASYNC110 - the worker tells nobody else
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        print("serving", worker.health_port, flush=True)
        await run
        print("blocked", worker.blocked_count, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(serve(**json.loads(sys.argv[1])))
