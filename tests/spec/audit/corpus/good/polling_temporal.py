"""Polling by a child that continues as new."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy


@activity.defn
def check(service: str) -> str:
    import time

    time.sleep(1)
    return service


@workflow.defn
class Polling:
    @workflow.run
    async def run(self, service: str) -> str:
        for _ in range(10):
            try:
                return await workflow.execute_activity(
                    check,
                    service,
                    start_to_close_timeout=timedelta(seconds=4),
                    retry_policy=RetryPolicy(maximum_attempts=1),
                )
            except Exception:
                workflow.logger.exception("not yet")
            await asyncio.sleep(1)
        workflow.continue_as_new(service)


@workflow.defn
class Parent:
    @workflow.run
    async def run(self, service: str) -> str:
        return await workflow.execute_child_workflow(Polling.run, service, id=f"poll-{service}")
