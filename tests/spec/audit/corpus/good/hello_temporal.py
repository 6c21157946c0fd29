"""The smallest workflow with Temporal's classes."""

import asyncio
from datetime import datetime, timedelta

from temporalio import activity, workflow


@activity.defn
async def compose(name: str) -> str:
    await asyncio.sleep(0.1)
    return f"Hello, {name}, at {datetime.now():%H:%M}"


@workflow.defn
class Hello:
    @workflow.run
    async def run(self, name: str) -> str:
        workflow.logger.info("greeting %s", name)
        return await workflow.execute_activity(compose, name, start_to_close_timeout=timedelta(seconds=5))
