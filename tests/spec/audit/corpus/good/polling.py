"""Polling that sleeps as long as it likes."""

import asyncio
from datetime import timedelta

import holdfast
from holdfast import step, workflow


@step
async def is_ready(job: str) -> bool:
    return bool(job)


async def deadline(hours: int) -> float:
    return (holdfast.now() + timedelta(hours=hours)).timestamp()


@workflow
async def poll(job: str) -> bool:
    end = await deadline(8)
    delay = 1.0
    while not await is_ready(job):
        if holdfast.now().timestamp() > end:
            return False
        delay = min(delay * 2 * holdfast.random().uniform(0.9, 1.1), 600)
        await asyncio.sleep(delay)
    return True
