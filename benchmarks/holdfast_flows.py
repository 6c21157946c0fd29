"""The same work as `raw_flows`, written on Holdfast."""

from __future__ import annotations

import asyncio

from holdfast import step, workflow


@step
async def increment(value: int) -> int:
    """One more."""
    return value + 1


@step(local=True)
async def local_increment(value: int) -> int:
    """One more, inside the workflow task."""
    return value + 1


@workflow
async def chain(count: int) -> int:
    """`count` steps, one after the other."""
    value = 0
    for _ in range(count):
        value = await increment(value)
    return value


@workflow
async def fan(count: int) -> int:
    """`count` steps at once."""
    return sum(await asyncio.gather(*(increment(value) for value in range(count))))


@workflow
async def local_chain(count: int) -> int:
    """`count` local steps, one after the other."""
    value = 0
    for _ in range(count):
        value = await local_increment(value)
    return value


@workflow
async def local_fan(count: int) -> int:
    """`count` local steps at once."""
    return sum(await asyncio.gather(*(local_increment(value) for value in range(count))))
