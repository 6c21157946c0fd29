"""The demo's worker, a process of its own: `python -m holdfast_server.demo.worker HOME EXAMPLES`."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path

from holdfast import Client, Worker

QUEUE = "demo"
"""A queue of its own, so that other workers of the same home take no part."""

MAX_STEPS = 2
"""Few enough that the kill finds some steps completed, some running, and some that have not begun."""


EXAMPLES = ("weather", "orders", "briefing")


def import_examples(folder: Path) -> list[object]:
    """Import the examples under the names that they have as scripts, as every process of the demo must."""
    sys.path.insert(0, str(folder))
    return [importlib.import_module(name) for name in EXAMPLES]


async def serve(home: Path, examples: Path) -> None:
    """Serve the examples until SIGTERM."""
    served = import_examples(examples)
    async with Client.embedded(home) as client:
        await Worker(client, served, queues=[QUEUE], max_steps=MAX_STEPS).run()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
