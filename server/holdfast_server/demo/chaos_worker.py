"""A worker of `holdfast demo --chaos`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from holdfast import Client, Worker
from holdfast.chaos.plan import FaultPlan
from holdfast_server.demo import ledger

QUEUE = "demo-chaos"


async def serve(home: Path, via: str, plan: FaultPlan | None) -> None:
    """Serve the shapes until SIGTERM, or until chaos ends the process."""
    from holdfast_server.demo import chaos_flows

    async with Client.embedded(home, via=via) as client:
        await Worker(client, [chaos_flows], queues=[QUEUE], chaos=plan).run()


def main(home: Path, via: str, written: Path, plan: FaultPlan | None) -> None:
    """The whole of its process.

    Args:
        home: Of the embedded server.
        via: The address of the proxy in front of it.
        written: The ledger.
        plan: The faults.
    """
    ledger.LEDGER = written
    asyncio.run(serve(home, via, plan))
