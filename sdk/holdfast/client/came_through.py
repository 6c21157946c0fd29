"""Messages that no worker takes at once: left with the server, or taken by a run that has ended since."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from temporalio.client import Client as TemporalClient
from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from holdfast.checks import check_name
from holdfast.engine.full import full
from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from holdfast.client.client import Client

_PATIENCE_SECONDS: Final = 5.0
_EXECUTIONS: Final = 10
"""How far back is looked: each of them costs two calls."""


def update_id(message_id: str) -> str:
    """The id of the update that carries a message. Temporal limits how long it may be.

    Raises:
        InvalidInput: No message can have that id.
    """
    named = check_name("message_id", message_id).encode()
    return f"message-{hashlib.blake2b(named, digest_size=16).hexdigest()}"


async def leave(handle: WorkflowHandle[Any, Any], name: str, args: Sequence[Any]) -> None:
    """Leave a message in a run's history, for later. The run is not asked, so its history is looked at first.

    Raises:
        InvalidInput: It is full.
    """
    if why := full((await handle.describe()).history_length):
        raise InvalidInput(f"run {handle.id!r} takes no more messages: {why}")
    await handle.signal(name, args=args)


async def came_through(client: Client, run_id: str, message_id: str) -> bool:
    """Whether the run took the message as an update before it ended, in its last execution or in one before. False
    also where it is open, or nobody can tell in time."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await _taken(client.temporal, run_id, update_id(message_id))
    except (RPCError, TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError from None  # Temporal's client gives the cancel another name
        return False


async def _taken(temporal: TemporalClient, run_id: str, update: str) -> bool:
    described = await temporal.get_workflow_handle(run_id).describe()
    if described.status == WorkflowExecutionStatus.RUNNING:
        return False  # the question would wait for an answer
    execution = described.run_id
    for _ in range(_EXECUTIONS):
        handle = temporal.get_workflow_handle(run_id, run_id=execution)
        try:
            await handle.get_update_handle(update, workflow_run_id=execution).result()
        except WorkflowUpdateFailedError:
            return False
        except RPCError as exc:
            if exc.status != RPCStatusCode.NOT_FOUND:
                raise
        else:
            return True
        first = await anext(handle.fetch_history_events(page_size=1))
        execution = first.workflow_execution_started_event_attributes.continued_execution_run_id
        if not execution:
            return False
    return False
