"""Cancellation that ends in a `finally` or in a `suppress`."""

import asyncio
from asyncio import CancelledError
from contextlib import suppress

from holdfast import step, workflow


@step
async def work() -> int:
    return 1


@workflow
async def stubborn() -> int:
    with suppress(CancelledError):  # expect: HF-A028
        await asyncio.sleep(10)
    with suppress(BaseException):  # expect: HF-A028
        await work()
    result = 0
    try:
        result = await work()
    finally:
        return result  # expect: HF-A028
