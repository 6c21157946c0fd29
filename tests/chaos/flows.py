"""What the tests of chaos run. Each effect is a line in a file: the step, the run, the attempt and the process."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from holdfast import RetryPolicy, step, step_info, workflow

SOON = RetryPolicy(first_delay=timedelta(milliseconds=50), max_attempts=5)


def effect(folder: str) -> None:
    """Write down that this attempt does its work."""
    info = step_info()
    line = f"{info.step} {info.run_id} {info.attempt} {os.getpid()}\n"
    fd = os.open(Path(folder) / "effects", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, line.encode())
    os.close(fd)


@step(retry=SOON, heartbeat=timedelta(seconds=1))
async def disturbed(folder: str) -> int:
    effect(folder)
    return step_info().attempt


@disturbed.compensate
async def undo_disturbed(folder: str, attempt: int | None) -> None:
    effect(folder)


@step(retry=SOON, heartbeat=timedelta(seconds=1))
def disturbed_on_thread(folder: str) -> int:
    effect(folder)
    return step_info().attempt


@step(local=True, retry=SOON)
async def disturbed_locally(folder: str) -> int:
    effect(folder)
    return step_info().attempt


@workflow
async def disturbed_flow(folder: str) -> list[int]:
    return [await disturbed(folder), await disturbed_on_thread(folder), await disturbed_locally(folder)]


@workflow
async def undone_flow(folder: str) -> None:
    await disturbed(folder)
    raise RuntimeError("everything is to be undone")
