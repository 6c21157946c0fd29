"""A timer that can be moved while it runs, in a class of its own."""

import asyncio
from datetime import datetime, timezone

from temporalio import workflow


class UpdatableTimer:
    def __init__(self, wake_up: datetime) -> None:
        self.wake_up = wake_up
        self.changed = False

    async def sleep(self) -> None:
        while (left := (self.wake_up - workflow.now()).total_seconds()) > 0:
            try:
                self.changed = False
                await workflow.wait_condition(lambda: self.changed, timeout=left)
            except asyncio.TimeoutError:
                return

    def move(self, wake_up: datetime) -> None:
        self.wake_up = wake_up
        self.changed = True


@workflow.defn
class Timer:
    @workflow.init
    def __init__(self, wake_up: float) -> None:
        self.timer = UpdatableTimer(datetime.fromtimestamp(wake_up, tz=timezone.utc))

    @workflow.run
    async def run(self, wake_up: float) -> None:
        await self.timer.sleep()

    @workflow.signal
    async def move(self, wake_up: float) -> None:
        self.timer.move(datetime.fromtimestamp(wake_up, tz=timezone.utc))

    @workflow.query
    def wake_up_time(self) -> float:
        return self.timer.wake_up.timestamp()
