"""A batch that brings its own threads."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

from holdfast import workflow


def double(number: int) -> int:
    return number * 2


@workflow
async def batch(numbers: list[int]) -> list[int]:
    with ThreadPoolExecutor() as pool:  # expect: HF-A023
        first = list(pool.map(double, numbers))  # expect: HF-A023
    second = await asyncio.to_thread(double, 2)  # expect: HF-A023
    loop = asyncio.get_running_loop()
    third = await loop.run_in_executor(None, double, 3)  # expect: HF-A023
    Thread(target=double, args=(4,)).start()  # expect: HF-A023
    return [*first, second, third]
