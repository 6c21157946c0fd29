"""The steps and workflows that the worker processes of these tests serve."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta

from holdfast import Permanent, RetryPolicy, step, step_info, wait_for, workflow

from .ledger import recorded

QUICK = RetryPolicy(max_attempts=5, first_delay=timedelta(milliseconds=100))
BRIEF = timedelta(seconds=4)
"""A workflow that spins slows its whole process down for two seconds at a time: shorter ones would not outlast that."""


@step
async def hold(label: str, seconds: float) -> str:
    """All defaults."""
    with recorded(label):
        await asyncio.sleep(seconds)
    return label


@step(heartbeat=BRIEF, retry=QUICK)
async def brief(label: str, seconds: float) -> str:
    """Noticed soon when its worker dies."""
    with recorded(label):
        await asyncio.sleep(seconds)
    return label


@step(
    queue="far", heartbeat=BRIEF, retry=RetryPolicy(max_attempts=20, first_delay=timedelta(milliseconds=100))
)
async def patient(label: str) -> str:
    """Is tried more often than a worker that stands still has asked for work."""
    with recorded(label):
        await asyncio.sleep(0.2)
    return label


@step
async def block_loop(label: str, seconds: float) -> str:
    """Does what no async step should."""
    with recorded(label):
        time.sleep(seconds)  # noqa: ASYNC251
    return label


@step
def block_thread(label: str, seconds: float) -> str:
    """Sits in C code on its thread, where nothing of Python's runs."""
    with recorded(label):
        time.sleep(seconds)
    return label


@step
async def note_once(label: str, seconds: float) -> str:
    """Records its progress, which then goes along with every beat."""
    with recorded(label):
        step_info().heartbeat({"at": 1})
        await asyncio.sleep(seconds)
    return label


@step
def note_often(label: str, seconds: float) -> str:
    """Records its progress from its thread."""
    with recorded(label):
        for number in range(int(seconds)):
            step_info().heartbeat(number)
            time.sleep(1)
    return label


@step(local=True)
async def nearby(label: str) -> str:
    """Runs inside the workflow task."""
    with recorded(label):
        await asyncio.sleep(0.1)
    return label


@step(heartbeat=BRIEF, retry=QUICK)
async def book(label: str) -> str:
    """Has a compensation."""
    with recorded(label):
        return f"booked {label}"


@book.compensate
async def unbook(label: str, result: str | None) -> None:
    with recorded(label):
        await asyncio.sleep(1)


@step
async def refuse(label: str) -> str:
    """Fails for good."""
    with recorded(label):
        raise Permanent("refused")


@step(process=True, retry=QUICK)
def compute(label: str, seconds: float) -> str:
    """Runs in a process of its own and tells its pid."""
    deadline = time.monotonic() + seconds
    fd = os.open(label, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, f"{os.getpid()}\n".encode())
    os.close(fd)
    while time.monotonic() < deadline:
        pass
    return label


@workflow
async def one_after_another(names: list[str], seconds: float) -> list[str]:
    return [await hold(name, seconds) for name in names]


@workflow
async def patient_ones(names: list[str]) -> list[str]:
    return [await patient(name) for name in names]


@workflow
async def brief_ones(names: list[str], seconds: float) -> list[str]:
    return [await brief(name, seconds) for name in names]


@workflow
async def abreast(names: list[str], seconds: float) -> list[str]:
    return list(await asyncio.gather(*(brief(name, seconds) for name in names)))


@workflow
async def nearby_ones(count: int) -> int:
    await hold("before", 0)
    for number in range(count):
        await nearby(str(number))
    return count


@workflow
async def booked(names: list[str]) -> None:
    for name in names:
        await book(name)
    await refuse("last")


@workflow
async def blocked(seconds: float) -> list[str]:
    running = [
        asyncio.ensure_future(started)
        for started in (
            hold("async", 2),
            block_thread("thread", seconds),
            note_once("progress", 2),
            note_often("progress on a thread", seconds),
        )
    ]
    await asyncio.sleep(1)
    # The others arrive when the first one of these holds the loop already.
    coming = [block_loop("loop", seconds), hold("late async", 1), block_thread("late thread", 1)]
    return list(await asyncio.gather(*running, *coming))


@workflow
async def block_in_c(seconds: float) -> str:
    return await block_thread("thread", seconds)


@workflow
async def spinning() -> int:
    turns = 0
    while True:
        turns += 1


@workflow
async def computing(path: str, seconds: float) -> str:
    return await compute(path, seconds)


@workflow
async def waiting(names: list[str]) -> list[int]:
    return [await wait_for(name, int) for name in names]


@workflow(queue="elsewhere")
async def nobody_serves() -> None:
    """Its queue has no worker."""


@step(queue="second")
async def there(label: str) -> str:
    with recorded(label):
        return label


@workflow
async def across_queues() -> str:
    return await there("there")
