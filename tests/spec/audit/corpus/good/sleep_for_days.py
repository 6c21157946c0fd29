"""A mail every thirty days, until somebody says stop."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow


@activity.defn
async def send_mail(text: str) -> None:
    print(text)


@workflow.defn
class SleepForDays:
    def __init__(self) -> None:
        self.stopped = False

    @workflow.run
    async def run(self) -> str:
        while not self.stopped:
            await workflow.execute_activity(
                send_mail, "still here", start_to_close_timeout=timedelta(seconds=10)
            )
            tasks = [
                asyncio.create_task(workflow.sleep(timedelta(days=30))),
                asyncio.create_task(workflow.wait_condition(lambda: self.stopped)),
            ]
            await workflow.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return "done"

    @workflow.signal
    def stop(self) -> None:
        self.stopped = True
