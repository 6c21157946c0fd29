"""The stock development server on a file, for comparison with the embedded one."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client as TemporalClient

from holdfast.engine.embedded import find_binary


@asynccontextmanager
async def stock_server() -> AsyncIterator[str]:
    """Start `temporal server start-dev --db-filename ...` with nothing tuned; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        process = await asyncio.create_subprocess_exec(
            str(find_binary()),
            *("server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)),
            *("--db-filename", f"{folder}/stock.db", "--log-level", "error"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            address = f"127.0.0.1:{port}"
            await _ready(address)
            yield address
        finally:
            process.terminate()
            await process.wait()


async def _ready(address: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await TemporalClient.connect(address)
                return
            except RuntimeError:
                await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
