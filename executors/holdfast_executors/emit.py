"""`emit`: tells another run that something has happened."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from holdfast import Executor, ExecutorContext, ExecutorOptions, InvalidInput, Run
from holdfast.client.here import client_here
from holdfast.client.start import check_message_name


class EmitConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """What a `wait` node, or `wait_for` in code, of another run gets."""

    run: str = Field(min_length=1, max_length=200)
    """The id of the run that it is for."""

    event: str = Field(min_length=1, max_length=200)
    """What has happened: the `event` of its `wait`, the name in its `wait_for`, the name of its approval."""

    payload: JsonValue = None
    """What to tell. Default: the input of the node."""


class EmitOutput(BaseModel, use_attribute_docstrings=True):
    """How it was sent."""

    sent: Literal["delivered", "queued"]
    """`delivered` when the run took it; `queued` when no worker serves the run now, and it waits in its history."""


class Emit(Executor[EmitConfig, EmitOutput]):
    """Sends an event to another run, which gets it once. It is kept there until it is waited for."""

    type = "emit"
    options = ExecutorOptions(timeout=timedelta(seconds=30), idempotent=True)

    async def execute(self, ctx: ExecutorContext, config: EmitConfig, input: JsonValue) -> EmitOutput:
        """See base class."""
        client = await ctx.get(client_here)
        payload = config.payload if "payload" in config.model_fields_set else input
        run: Run[object] = client.get(config.run)
        return EmitOutput(sent=await run.send(config.event, payload, message_id=ctx.idempotency_key))

    def validate(self, config: EmitConfig) -> list[str]:
        """See base class."""
        try:
            check_message_name(config.event)
        except InvalidInput as error:
            return [f"event: {error.message}"]
        return []


async def emit(run: str, event: str, payload: JsonValue = None) -> EmitOutput:
    """Send an event to another run: a step in a workflow.

    Args:
        run: Its id.
        event: The name that it waits for.
        payload: What to tell: any value that travels as JSON.
    """
    return await Emit.call(EmitConfig(run=run, event=event, payload=payload))
