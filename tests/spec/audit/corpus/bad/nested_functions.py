"""Clocks in closures, lambdas and nested coroutines."""

import asyncio
import time
from random import random

from holdfast import step, workflow


@step
async def work(number: float) -> float:
    return number


@workflow
async def fan_out(count: int) -> list[float]:
    def jitter() -> float:
        return random()  # expect: HF-A021

    async def one(number: int) -> float:
        stamp = time.time()  # expect: HF-A020
        return await work(number + stamp + jitter())

    draw = lambda: random() * 2  # expect: HF-A021
    await work(draw())
    return await asyncio.gather(*(one(number) for number in range(count)))
