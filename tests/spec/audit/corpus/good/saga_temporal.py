"""Compensations kept in a list of the run."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio import activity, workflow

SECONDS = timedelta(seconds=10)


@activity.defn
async def reserve(car: str) -> None:
    print("reserved", car)


@activity.defn
async def release(car: str) -> None:
    print("released", car)


@workflow.defn
class Rental:
    @workflow.run
    async def run(self, cars: list[str]) -> int:
        undo: list[Callable[[], Awaitable[None]]] = []
        try:
            for car in cars:
                undo.append(
                    lambda car=car: workflow.execute_activity(release, car, start_to_close_timeout=SECONDS)
                )
                await workflow.execute_activity(reserve, car, start_to_close_timeout=SECONDS)
        except Exception:
            for compensate in reversed(undo):
                await compensate()
            raise
        return len(cars)
