"""A real Temporal server, started once, for tests that look at what it records."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

TEMPORAL = Path(sys.executable).with_name("temporal")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def temporal_address() -> Iterator[str]:
    """The address of a tuned server in memory."""
    port = free_port()
    command = [str(TEMPORAL), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    for queue in ("transfer", "timer", "visibility"):
        command += ["--dynamic-config-value", f"history.{queue}ProcessorMaxPollRPS=10000"]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 20
        while not listening(port):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture
async def temporal(temporal_address: str) -> Client:
    """A raw client, in a namespace that answers."""
    for _ in range(100):
        try:
            client = await Client.connect(temporal_address, identity="client-1")
            await client.count_workflows()
            break
        except Exception:  # noqa: BLE001 - the server listens before its namespace is there
            await asyncio.sleep(0.1)
    else:
        pytest.fail("the namespace does not answer")
    return client
