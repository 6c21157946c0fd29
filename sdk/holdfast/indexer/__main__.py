"""The indexer that the supervisor of an embedded home starts: `python -m holdfast.indexer --home .. --address ..`.

It ends when its input does, and so also with a supervisor that is killed. It gives way to all others: `os.nice`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import threading
from pathlib import Path

_NICE = 10


async def _index(home: Path, address: str) -> None:
    from temporalio.client import Client

    from holdfast.client.connection import data_converter
    from holdfast.engine.embedded.home import Home
    from holdfast.indexer.indexer import Indexer
    from holdfast.settings import load
    from holdfast.store.database import Database

    settings = load(home)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=settings.log_level)
    converter = data_converter(settings, storage=settings.storage or Home(home).blobs)
    client = await Client.connect(address, data_converter=converter)
    database = await asyncio.to_thread(Database.of, settings)
    await Indexer(client, database, retention=settings.retention, home=home).run()


async def _until_input_ends(home: Path, address: str) -> int:
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, daemon=True).start()
    indexing, ending = asyncio.create_task(_index(home, address)), asyncio.create_task(over.wait())
    await asyncio.wait([indexing, ending], return_when=asyncio.FIRST_COMPLETED)
    if not indexing.done():
        indexing.cancel()
        await asyncio.wait([indexing])  # it gives its shards back
        return 0
    logging.error("the indexer cannot go on", exc_info=indexing.exception())
    return 1


def main() -> None:
    """Parse the command line and index."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.indexer")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--address", required=True)
    options = parser.parse_args()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    code = asyncio.run(_until_input_ends(options.home, options.address))
    logging.shutdown()
    os._exit(code)  # temporalio's native part sometimes crashes at the end of an interpreter


if __name__ == "__main__":
    main()
