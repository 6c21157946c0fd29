"""Polling with a sleep that blocks the worker, hidden in a helper."""

import time

from holdfast import step, workflow


@step
async def is_ready(job: str) -> bool:
    time.sleep(0.1)
    return bool(job)


def back_off(attempt: int) -> None:
    time.sleep(2**attempt)  # expect: HF-A024


async def until_ready(job: str) -> int:
    attempt = 0
    while not await is_ready(job):
        attempt += 1
        back_off(attempt)
    return attempt


@workflow
async def poll(job: str) -> int:
    return await until_ready(job)
