"""A workflow that never ends, in pieces."""

import asyncio

from temporalio import workflow


@workflow.defn
class Looping:
    @workflow.run
    async def run(self, iteration: int) -> None:
        if iteration == 5:
            return
        await asyncio.sleep(10)
        if workflow.info().is_continue_as_new_suggested():
            workflow.logger.info("started at %s", workflow.info().start_time)
        workflow.continue_as_new(iteration + 1)
