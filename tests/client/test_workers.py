"""Which workers there are: of Holdfast and of plain Temporal, also where the server does not hear of workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from temporalio.client import Client as Temporal
from tests.engine.conftest import TEMPORAL, free_port, listening
from tests.engine.support import eventually

from holdfast import Client, Worker, workflow
from holdfast.client.workers import WorkerInfo


@workflow
async def idle() -> None:
    return


@pytest.fixture(scope="module", params=["true", "false"])
def told(request: pytest.FixtureRequest) -> Iterator[tuple[bool, str]]:
    """Whether workers tell the server of themselves, and its address."""
    port = free_port()
    command = [str(TEMPORAL), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--dynamic-config-value", f"frontend.WorkerHeartbeatsEnabled={request.param}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not listening(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield request.param == "true", f"127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


@pytest.fixture
async def temporal(told: tuple[bool, str]) -> Temporal:
    async def connect() -> Temporal | None:
        try:
            made = await Temporal.connect(told[1])
            await made.count_workflows()
        except Exception:  # noqa: BLE001 - it listens before it answers
            return None
        return made

    made: Temporal = await eventually(connect, 60)
    return made


@pytest.fixture
async def client(told: tuple[bool, str], temporal: Temporal) -> AsyncIterator[Client]:
    async with Client.connect(told[1], namespace="default") as made:
        yield made


async def test_a_worker_is_listed_as_soon_as_it_polls(client: Client) -> None:
    queue = f"own-{uuid.uuid4().hex[:6]}"
    async with Worker(client, [idle], queues=[queue], max_steps=7):

        async def there() -> list[WorkerInfo]:
            return await client.workers.list(queues=[queue])

        (mine,) = await eventually(there)
        assert mine.identity.startswith(f"{os.getpid()}@")
        assert mine.build_id
        assert mine.max_steps in (None, 7), "unknown, and not 0, before it has told of itself"
        assert mine.to_dict()["queue"] == queue


async def test_plain_workers_are_listed_until_they_are_killed(client: Client, told: tuple[bool, str]) -> None:
    queue = f"plain-{uuid.uuid4().hex[:6]}" if told[0] else "default"
    code = f"""
import asyncio
from datetime import timedelta
from temporalio import activity
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

@activity.defn
async def nothing() -> None: ...

async def main():
    runtime = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=1))
    client = await Client.connect({client.address!r}, runtime=runtime)
    await Worker(client, task_queue={queue!r}, activities=[nothing], max_concurrent_activities=7).run()

asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", code])  # noqa: ASYNC220 - starting it takes no time

    async def there() -> WorkerInfo | None:
        found = await client.workers.list()
        return next((one for one in found if one.identity.startswith(f"{process.pid}@")), None)

    try:
        info: WorkerInfo = await eventually(there, 60)
    finally:
        process.kill()
        process.wait()
    assert info.queue == queue
    if told[0]:
        assert (info.max_steps, info.steps_running, info.pid) == (7, 0, process.pid)
        assert info.sdk is not None
        assert info.started is not None
    else:
        assert (info.max_steps, info.steps_running) == (None, None)
    assert await there() is None


async def test_queues_have_any_name(client: Client) -> None:
    for name in ("x' OR 1=1", '"', "😀", "%", "A" * 900):
        assert await client.workers.list(queues=[name]) == []
