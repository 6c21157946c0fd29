"""A writer or a reader of events in a process of its own, until it is killed or has come to the last number.

    python -m tests.client.events_host write HOME FIRST LAST
    python -m tests.client.events_host read HOME AFTER LAST [SUBSCRIPTION]

A writer prints each number when it is stored; a reader prints the cursor and the number of each event.
"""

from __future__ import annotations

import asyncio
import sys

from holdfast import Client, Unavailable


async def write(home: str, first: str, last: str) -> None:
    async with Client.embedded(home, start=False) as client:
        for number in range(int(first), int(last) + 1):
            while True:
                try:
                    await client.events.publish("numbers", number)
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
            print(number, flush=True)
            await asyncio.sleep(0.02)


async def read(home: str, after: str, last: str, subscription: str | None = None) -> None:
    async with Client.embedded(home, start=False) as client:
        listening = client.events.listen(channels=["numbers"], after=int(after), subscription=subscription)
        async for event in listening:
            print(event.cursor, event.payload, flush=True)
            if event.payload == int(last):
                break
        await listening.aclose()


if __name__ == "__main__":
    asyncio.run({"write": write, "read": read}[sys.argv[1]](*sys.argv[2:]))
