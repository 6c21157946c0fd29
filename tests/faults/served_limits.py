"""What the worker processes of the tests of keyed limits serve: calls of one service, each over a connection."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import timedelta

from holdfast import Limit, RetryPolicy, step, workflow

PATIENT = RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=100))


async def ask(port: int, label: str) -> str:
    """Tell the service who calls, and wait until it is done."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{label} {os.getpid()}\n".encode())
    answer = (await reader.readline()).decode().strip()
    writer.close()
    return answer


@step(limit=Limit(key="service-{port}", concurrency=5), retry=PATIENT)
async def five_at_a_time(port: int, label: str) -> str:
    return await ask(port, label)


@step(limit=Limit(key="sync-{port}", concurrency=2), retry=PATIENT)
def two_at_a_time(port: int, label: str) -> str:
    """On a thread."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{label} {os.getpid()}\n".encode())
        return connection.recv(100).decode().strip()


@step(limit=Limit(key="rate-{port}", rate="20/s"), retry=PATIENT)
async def twenty_a_second(port: int, label: str) -> str:
    return await ask(port, label)


@step(limit=Limit(key="tenant-{label}", concurrency=1), retry=PATIENT)
async def one_per_tenant(port: int, label: str) -> str:
    return await ask(port, label)


STEPS = {
    "async": five_at_a_time,
    "sync": two_at_a_time,
    "rate": twenty_a_second,
    "tenant": one_per_tenant,
}


@workflow
async def calls(kind: str, port: int, labels: list[str]) -> list[str]:
    return list(await asyncio.gather(*(STEPS[kind](port, label) for label in labels)))
