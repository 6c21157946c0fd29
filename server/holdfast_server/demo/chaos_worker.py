"""A worker of `holdfast demo --chaos`: `python -m holdfast_server.demo.chaos_worker HOME VIA LEDGER [PROFILE SEED]`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from holdfast import Client, Worker
from holdfast.chaos.plan import FaultPlan
from holdfast.chaos.profiles import Profile
from holdfast_server.demo import ledger

QUEUE = "demo-chaos"


async def serve(home: Path, via: str, plan: FaultPlan | None) -> None:
    """Serve the shapes until SIGTERM, or until chaos ends the process."""
    from holdfast_server.demo import chaos_flows

    async with Client.embedded(home, via=via) as client:
        await Worker(client, [chaos_flows], queues=[QUEUE], chaos=plan).run()


def main(home: str, via: str, written: str, profile: str = "", seed: str = "0") -> None:
    """What the command line says."""
    ledger.LEDGER = Path(written)
    plan = FaultPlan(Profile.from_dict(json.loads(profile)), int(seed)) if profile else None
    asyncio.run(serve(Path(home), via, plan))


if __name__ == "__main__":
    main(*sys.argv[1:])
