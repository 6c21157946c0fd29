"""A reminder with a jitter from a method."""

import asyncio
import random
from datetime import timedelta

from temporalio import workflow


@workflow.defn
class SleepForDays:
    @workflow.run
    async def run(self, days: int) -> None:
        for _ in range(days):
            await asyncio.sleep(self._delay().total_seconds())

    def _delay(self) -> timedelta:
        return timedelta(days=1, seconds=random.uniform(0, 60))  # expect: HF-A021
