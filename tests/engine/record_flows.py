"""An executor that records its progress, and waits to be told how to go on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, JsonValue

from holdfast import (
    Executor,
    ExecutorContext,
    ExecutorOptions,
    RetryPolicy,
    register_executor,
    step,
    workflow,
)

outcomes: list[str] = []
go_on = asyncio.Event()


class NotesConfig(BaseModel, extra="forbid"):
    size: int = 1
    """How much to record."""
    waits: bool = False
    """Whether to wait before recording."""


@register_executor
class Notes(Executor[NotesConfig, list[Any]]):
    """Records, and fails once."""

    type = "record-notes"
    options = ExecutorOptions(retry=RetryPolicy(max_attempts=2, first_delay=timedelta(milliseconds=10)))

    async def execute(self, ctx: ExecutorContext, config: NotesConfig, input: JsonValue) -> list[Any]:
        found = [len(detail) for detail in ctx.heartbeat_details]
        if config.waits:
            outcomes.append("waits")
            await go_on.wait()
        try:
            await ctx.record("x" * config.size)
            outcomes.append("recorded")
        except (Exception, asyncio.CancelledError) as error:
            outcomes.append(type(error).__name__)
            raise
        if ctx.run_id and ctx.attempt == 1:
            raise ConnectionError("once")
        return found


@step(name="record_in_a_step")
async def noting(size: int) -> list[Any]:
    return await Notes.call(NotesConfig(size=size))


@workflow(name="record_notes")
async def notes(size: int, waits: bool) -> list[Any]:
    return await Notes.call(NotesConfig(size=size, waits=waits))


@workflow(name="record_notes_in_a_step")
async def notes_in_a_step(size: int) -> list[Any]:
    return await noting(size)
