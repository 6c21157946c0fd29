"""A user's own Temporal code beside Holdfast's, in a module that the sandbox imports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from pydantic import BaseModel
from temporalio import activity
from temporalio import workflow as temporal

from holdfast import Depends, step, workflow

CLOSED: list[str] = []


class Parcel(BaseModel):
    order: str
    grams: int


async def open_scales() -> AsyncIterator[int]:
    yield 700
    CLOSED.append("scales")


@step(name="plugin.weigh")
async def weigh(order: str, scales: int = Depends(open_scales)) -> Parcel:
    return Parcel(order=order, grams=scales)


@step(name="plugin.label")
def label(parcel: Parcel) -> str:
    return f"{parcel.order}: {parcel.grams} g"


@workflow(name="plugin.ship")
async def ship(order: str) -> str:
    return await label(await weigh(order))


@activity.defn
async def old_activity(order: str) -> str:
    return f"old {order}"


@temporal.defn
class OldWorkflow:
    """Written before Holdfast; its newest line calls a step."""

    @temporal.run
    async def run(self, order: str) -> str:
        old = await temporal.execute_activity(
            old_activity, order, start_to_close_timeout=timedelta(seconds=10)
        )
        parcel = await weigh(order)
        return f"{old}, {parcel.grams} g, {type(parcel).__name__}"


@temporal.defn
class OldClock:
    @temporal.run
    async def run(self) -> str:
        import datetime

        return str(datetime.datetime.now())
