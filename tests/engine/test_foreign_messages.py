"""Signals that another kind of client sends."""

from __future__ import annotations

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from holdfast import Client, Worker, wait_for, workflow
from holdfast.engine.shell import PAUSE_SIGNAL, RESUME_SIGNAL

NO_JSON = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"{"))
UNKNOWN = RawValue(Payload(metadata={"encoding": b"binary/of-somebody"}, data=b"\x00"))


@workflow
async def takes_a_word() -> str:
    return await wait_for("word", str)


@pytest.mark.parametrize("odd", [NO_JSON, UNKNOWN])
async def test_a_signal_that_nobody_can_read_stops_no_run(holdfast_client: Client, odd: RawValue) -> None:
    async with Worker(holdfast_client, [takes_a_word]):
        run = await holdfast_client.start(takes_a_word)
        handle = holdfast_client.temporal.get_workflow_handle(run.id)
        await handle.signal("word", args=[odd])
        await handle.signal("other", args=["value", odd])
        await handle.signal(PAUSE_SIGNAL, args=[odd])
        await handle.signal(RESUME_SIGNAL)
        await handle.signal("word", args=["yes", odd])
        assert await run.result() == "yes"
