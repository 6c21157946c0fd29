"""The same with Temporal's classes, and a deadline."""

import time
from datetime import datetime, timedelta

from temporalio import activity, workflow


@activity.defn
async def compose(name: str) -> str:
    return f"Hello, {name}, at {datetime.now()}"


@workflow.defn
class Greeting:
    def __init__(self) -> None:
        self.started = time.time()  # expect: HF-A020

    @workflow.run
    async def run(self, name: str) -> str:
        day = datetime.utcnow().date()  # expect: HF-A020
        text = await workflow.execute_activity(compose, name, start_to_close_timeout=timedelta(seconds=5))
        return f"{text} on {day}"

    @workflow.query
    def age(self) -> float:
        return time.monotonic() - self.started  # expect: HF-A020
