"""Sagas for the tests of compensation, which log what is done and undone."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from holdfast import (
    Permanent,
    RetryPolicy,
    StepFailed,
    continue_as_new,
    step,
    workflow,
)

LOG: list[tuple[object, ...]] = []
ONCE = RetryPolicy(max_attempts=1)
QUICK = RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=20))


@step
async def book(name: str) -> str:
    LOG.append(("book", name))
    return f"booked {name}"


@book.compensate
async def unbook(name: str, result: str | None) -> None:
    LOG.append(("unbook", name, result))


@step(retry=ONCE)
async def pay(name: str, how: str = "well", seconds: float = 0.0) -> str:
    await asyncio.sleep(seconds)
    if how == "permanent":
        raise Permanent("no money")
    if how == "raises":
        raise ConnectionError("line is down")
    return f"paid {name}"


@pay.compensate
async def refund(name: str, how: str, seconds: float, result: str | None) -> None:
    LOG.append(("refund", name, result))


@step(retry=QUICK)
async def flaky_then_permanent(name: str) -> str:
    LOG.append(("try", name))
    if len(LOG) == 1:
        raise ConnectionError("once")
    raise Permanent("for good")


@flaky_then_permanent.compensate
async def undo_flaky(name: str, result: str | None) -> None:
    LOG.append(("undo", name, result))


@step
async def stubborn(name: str) -> str:
    return name


@stubborn.compensate
async def undo_stubborn(name: str, result: str | None) -> None:
    LOG.append(("undo stubborn", name))
    raise Permanent(f"{name} cannot be undone")


@step
async def shaky(name: str) -> str:
    return name


async def undo_shaky(name: str, result: str | None) -> None:
    LOG.append(("undo shaky", name))
    if len(LOG) < 3:
        raise ConnectionError("try me again")


shaky.compensate(undo_shaky, retry=QUICK)


@step
async def slow(seconds: float) -> str:
    LOG.append(("slow starts",))
    try:
        await asyncio.sleep(seconds)
    finally:
        LOG.append(("slow ends",))
    return "slept"


@slow.compensate
async def undo_slow(seconds: float, result: str | None) -> None:
    LOG.append(("undo slow", result))


@step(local=True, idempotent=True)
async def local_book(name: str) -> str:
    LOG.append(("local book", name))
    return f"booked {name}"


@local_book.compensate
async def local_unbook(name: str, result: str | None) -> None:
    LOG.append(("local unbook", name, result))


@step
async def cancels_itself(name: str) -> str:
    return name


async def undo_cancels_itself(name: str, result: str | None) -> None:
    LOG.append(("undo cancels", name))
    raise asyncio.CancelledError


cancels_itself.compensate(undo_cancels_itself, retry=ONCE)


@workflow
async def saga(ending: str) -> str:
    await book("hotel")
    await book("flight")
    if ending == "changed":
        raise ValueError("changed my mind")
    await pay("trip", ending)
    return "done"


@workflow
async def saga_flaky() -> None:
    await flaky_then_permanent("x")


@workflow
async def saga_caught() -> str:
    await book("hotel")
    try:
        await pay("trip", "raises")
    except StepFailed:
        return "paid later"
    return "never"


@workflow
async def saga_stubborn() -> None:
    await book("first")
    await stubborn("second")
    await book("third")
    raise ValueError("the cause")


@workflow
async def saga_shaky() -> None:
    await shaky("it")
    raise ValueError("the cause")


@workflow
async def saga_slow() -> None:
    await book("hotel")
    await slow(30)


@workflow(timeout=timedelta(seconds=1))
async def saga_late() -> None:
    await book("hotel")
    await slow(30)


@workflow
async def saga_order() -> None:
    await asyncio.gather(pay("second", seconds=0.4), pay("first"), pay("third", seconds=0.8))
    raise ValueError("the cause")


@workflow
async def saga_gather() -> None:
    async def branch() -> None:
        await slow(30)
        await book("never")

    await asyncio.gather(book("hotel"), branch(), pay("trip", "permanent", 0.5))


@workflow
async def saga_local() -> None:
    await local_book("a")
    await book("b")
    await local_book("c")
    raise ValueError("the cause")


@workflow
async def saga_continued(n: int) -> None:
    await book(f"night {n}")
    if n < 2:
        continue_as_new(n + 1)
    raise ValueError("the cause")


@workflow
async def saga_undo_cancelled() -> None:
    await book("hotel")
    await cancels_itself("x")
    raise ValueError("the cause")


@workflow
async def saga_finally() -> None:
    await book("hotel")
    try:
        await slow(30)
    finally:
        await book("cleanup")
