"""At most so many children at a time; their ids are kept in a set, and left in order."""

import asyncio

from holdfast import continue_as_new, step, workflow


@step
async def handle(record: int) -> int:
    return record


@workflow
async def batch(records: list[int], window: int = 10, running: list[int] | None = None) -> int:
    open_records: set[int] = set(running or [])
    slots = asyncio.Semaphore(window)

    async def one(record: int) -> None:
        async with slots:
            open_records.add(record)
            await handle(record)
            open_records.discard(record)

    async with asyncio.TaskGroup() as group:
        for record in records[:1000]:
            group.create_task(one(record))
    if len(records) > 1000 and 7 not in open_records:
        continue_as_new(records[1000:], window, sorted(open_records))
    return len(open_records) + sum(record for record in open_records)
