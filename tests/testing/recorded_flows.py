"""Workflows whose runs are recorded under `tests/histories/holdfast`. `python -m tests.testing.record` records them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import BaseModel

from holdfast import (
    Permanent,
    approval,
    continue_as_new,
    now,
    random,
    set_state,
    step,
    uuid4,
    wait_for,
    workflow,
)


class Parcel(BaseModel):
    order: str
    weight_grams: int


@step
async def reserve(order: str) -> str:
    return f"shelf-{order}"


@reserve.compensate
async def release(order: str, shelf: str | None) -> None:
    return None


@step
def pack(order: str, shelf: str) -> Parcel:
    if order == "broken":
        raise Permanent("it broke")
    return Parcel(order=order, weight_grams=700)


@step(local=True)
async def weigh(parcel: Parcel) -> int:
    return parcel.weight_grams


@workflow(name="recorded.saga")
async def saga(order: str) -> Parcel:
    """Completed, and with the order `broken` failed and compensated."""
    shelf = await reserve(order)
    return await pack(order, shelf)


@workflow(name="recorded.ask")
async def ask(order: str) -> str:
    """An approval, a message, the state, the clock and chance."""
    set_state({"order": order, "key": str(uuid4()), "lot": random().randint(1, 10), "at": now().isoformat()})
    decision = await approval("Ship it?", name="ship", timeout=timedelta(days=2))
    address = await wait_for("address", str, timeout=timedelta(days=1))
    return f"{order} to {address}: {decision.approved}"


@workflow(name="recorded.count")
async def count(left: int, total: int = 0) -> int:
    """Goes on as new twice."""
    await asyncio.sleep(1)
    if left > 1:
        continue_as_new(left - 1, total + 1)
    return total + 1


@workflow(name="recorded.weigh_all")
async def weigh_all(orders: list[str]) -> int:
    """Local steps and steps in parallel, and a child."""
    parcels = await asyncio.gather(*(pack(order, "shelf") for order in orders))
    weights = [await weigh(parcel) for parcel in parcels]
    await saga("child")
    return sum(weights)
