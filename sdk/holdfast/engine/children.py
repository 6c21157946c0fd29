"""A workflow called by a workflow: a child run."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

from holdfast.authoring.workflow import Workflow
from holdfast.engine.failures import child_failed
from holdfast.engine.inbox import DAG, DAG_MEMO, PAUSED
from holdfast.engine.pausing import Pausing
from holdfast.engine.payloads import plain
from holdfast.errors import AlreadyStarted

DAG_WORKFLOW = "holdfast.dag"
"""The workflow that runs every DAG."""

MAP_WORKFLOW = "holdfast.map"
"""The workflow that runs a part of a map, or undoes it."""

_ID_CHARACTERS = 200


def child_run_id(parent: str, suffix: str) -> str:
    """The id of a child that nobody gave one: the parent's and what tells it from others, shortened where it would be
    longer than an id may be."""
    run_id = f"{parent}:{suffix}"
    if len(run_id) <= _ID_CHARACTERS:
        return run_id
    return f"{run_id[: _ID_CHARACTERS - 33]}-{hashlib.sha256(run_id.encode()).hexdigest()[:32]}"


async def run_child(
    child: Workflow[..., Any],
    child_id: str,
    payloads: Sequence[Payload],
    *,
    memo: Mapping[str, Any],
    searchable: bool,
    pausing: Pausing | None = None,
) -> RawValue:
    """Start a child run and wait for its end.

    Args:
        child: The workflow.
        child_id: The child's run id.
        payloads: Its arguments.
        memo: What is written down at its start.
        searchable: Whether the namespace has Holdfast's search attributes.
        pausing: Holds it while the caller is paused. Default: nothing does.

    Raises:
        AlreadyStarted: An open run has the id.
        RunFailed: The child failed, or somebody else cancelled it.
        asyncio.CancelledError: The caller was cancelled, and the child with it.
    """
    attributes: list[SearchAttributePair[Any]] = [SearchAttributePair(PAUSED, False)]
    if child.name == DAG_WORKFLOW:
        name: str = plain(payloads[0], "The document")["name"]
        memo = {**memo, DAG_MEMO: name}
        attributes.append(SearchAttributePair(DAG, name))

    async def run() -> RawValue:
        handle: workflow.ChildWorkflowHandle[Any, RawValue] = await workflow.start_child_workflow(
            child.name,
            args=[RawValue(payload) for payload in payloads],
            id=child_id,
            task_queue=child.options.queue if child.options.queue != "default" else None,
            result_type=RawValue,
            task_timeout=child.task_timeout,
            memo=memo,
            search_attributes=TypedSearchAttributes(attributes) if searchable else None,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        if pausing is None:
            return await handle
        pausing.begun(handle)
        try:
            return await handle
        finally:
            pausing.ended(handle)

    # In a task of its own, so that a cancel of the caller can be told from one of the child.
    running = asyncio.create_task(run())
    cancelled: asyncio.CancelledError | None = None
    while True:
        try:
            result: RawValue = await asyncio.shield(running)
            if cancelled:
                raise cancelled  # a child that ends in its own way does not undo the caller's cancel
            return result
        except ChildWorkflowError as exc:
            if cancelled:
                raise cancelled from exc
            failed = child_failed(exc, child_id)
            raise failed from failed.__cause__
        except WorkflowAlreadyStartedError as exc:
            raise AlreadyStarted(
                f"the id {child_id!r} for child {child.name!r} is taken by another run"
            ) from exc
        except asyncio.CancelledError as exc:
            if running.done():
                raise
            cancelled = exc
            running.cancel()
