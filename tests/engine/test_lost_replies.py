"""Messages that a run has taken, and whose sender was not told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import Client as TemporalClient
from temporalio.client import (
    Interceptor,
    OutboundInterceptor,
    StartWorkflowUpdateInput,
)

from holdfast import Client, RunClosed, Worker, continue_as_new, wait_for, workflow


class LosesReplies(Interceptor):
    """Updates arrive; what is answered does not."""

    def __init__(self) -> None:
        self.taken = asyncio.Event()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _LosesReplies(next, self.taken)


class _LosesReplies(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, taken: asyncio.Event) -> None:
        super().__init__(next)
        self._taken = taken

    async def start_workflow_update(self, input: StartWorkflowUpdateInput) -> Any:
        await super().start_workflow_update(input)
        self._taken.set()
        await asyncio.Event().wait()


@workflow
async def lr_once() -> int:
    return await wait_for("begin", int)


@workflow
async def lr_rounds(more: bool) -> int:
    if more:
        await wait_for("begin", int)
        continue_as_new(False)
    return await wait_for("end", int)


@pytest.mark.parametrize("rounds", [False, True], ids=["last execution", "one before"])
async def test_a_message_that_ended_the_run_was_delivered_whatever_was_heard_of_it(
    holdfast_client: Client, rounds: bool
) -> None:
    loses = LosesReplies()
    config = holdfast_client.temporal.config()
    config["interceptors"] = [loses]
    async with (
        Worker(holdfast_client, [lr_once, lr_rounds]),
        Client.wrap(TemporalClient(**config)) as deaf,
    ):
        run = await (holdfast_client.start(lr_rounds, True) if rounds else holdfast_client.start(lr_once))
        sending = asyncio.create_task(deaf.get(run.id).send("begin", 1, message_id="it"))
        await loses.taken.wait()
        if rounds:
            assert await run.send("end", 1) == "delivered"
        assert await run.result() == 1
        assert await sending == "delivered"
        assert await run.send("begin", 1, message_id="it") == "delivered"
        with pytest.raises(RunClosed):
            await run.send("begin", 1, message_id="another")
