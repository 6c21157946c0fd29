"""A worker in a process of its own, in one of two builds of its code.

python -m tests.client.catalogue_host HOME may|june
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from holdfast import Client, Worker, step, workflow


@dataclass
class Parcel:
    weight: float
    to: str


if "june" in sys.argv:

    @step(name="weigh")
    async def weigh_on(parcel: Parcel, scale: str) -> float:
        """Put it on the scale of that name."""
        return parcel.weight
else:

    @step
    async def weigh(parcel: Parcel) -> float:
        """Put it on the scale."""
        return parcel.weight


@workflow
async def deliver(parcel: Parcel, express: bool = False) -> str:
    """Bring a parcel to its door."""
    return parcel.to


async def serve(home: str, build: str) -> None:
    async with Client.embedded(home, start=False) as client:
        worker = Worker(client, [deliver], queues=["parcels"], deployment="post", build_id=build)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
