"""Cleaning up when a run is cancelled, and cancelling what a run started itself."""

import asyncio
from contextlib import suppress

from holdfast import step, workflow


@step
async def work(number: int) -> int:
    return number


@step
async def clean_up() -> None:
    print("clean")


@workflow
async def careful(number: int) -> int:
    try:
        return await work(number)
    except asyncio.CancelledError:
        with suppress(Exception):
            await asyncio.shield(clean_up())
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass
        raise
    except BaseException as error:
        raise ValueError("it failed") from error


@workflow
async def race(numbers: list[int]) -> int:
    watch = asyncio.create_task(asyncio.sleep(3600))
    tasks = [asyncio.create_task(work(number)) for number in numbers]
    result = await tasks[0]
    watch.cancel()
    try:
        await watch
    except asyncio.CancelledError:
        pass
    try:
        value = int(str(result))
    except:
        value = 0
    return value
