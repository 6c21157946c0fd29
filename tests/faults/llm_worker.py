"""A worker for chains of llm calls, as a forked process runs it."""

from __future__ import annotations

import asyncio
import os
from multiprocessing.synchronize import Event

from holdfast import Client, Worker

from . import llm_flows
from .llm_endpoint import WORKER


def work(home: str, name: str, serves: Event) -> None:
    """Serve until somebody kills this process.

    Args:
        home: The server's.
        name: What the endpoint is told with each request.
        serves: Set once it serves.
    """
    os.environ["OPENAI_CUSTOM_HEADERS"] = f"{WORKER}: {name}"
    asyncio.run(_serve(home, serves))


async def _serve(home: str, serves: Event) -> None:
    async with Client.embedded(home=home) as client, Worker(client, [llm_flows]):
        serves.set()
        await asyncio.Event().wait()
