"""An indexer in a process of its own: `python -m tests.indexer.host ADDRESS DATABASE_URL`, until it is killed."""

from __future__ import annotations

import asyncio
import sys

from temporalio.client import Client

from holdfast.indexer import Indexer
from holdfast.store.database import Database


async def main(address: str, where: str) -> None:
    client = await Client.connect(address)
    print("ready", flush=True)
    await Indexer(client, Database.open(where)).run()


asyncio.run(main(*sys.argv[1:]))
