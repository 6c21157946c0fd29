"""Time that passes at once while a test waits for a result, and stands otherwise.

Temporal's server skips the idle time of runs for which that is switched on. On from the start, it would let the
deadline of an approval pass before the test has decided it; so whoever waits for the run's end switches it on.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import TimeSkippingConfig, WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionOptionsRequest
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistoryEventAsyncIterator,
    WorkflowHistoryEventFilterType,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper

from holdfast.errors import RunClosed

if TYPE_CHECKING:
    from holdfast.client.run import Run

_PATIENCE = 0.05
"""Seconds that a wait lasts before time is skipped: quick runs keep a history without a trace of it."""

_OVER = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
"""The answers about a run that has ended."""


def skipping(client: Client) -> Client:
    """A client whose waits for a run's end let that run's time pass at once."""
    config = client.config()
    config["interceptors"] = [*config["interceptors"], _Skipping(client)]
    return Client(**config)


async def fast_forward(run: Run[Any], by: timedelta) -> None:
    """Let time pass for an open run, and return when it has: timers, deadlines and retries come due in order.

    Args:
        run: A run of a client with time skipping, such as `holdfast_client`.
        by: How much time.

    Raises:
        RunClosed: It ended before that.
        NotFound: There is no such run.
    """
    temporal = run._client.temporal
    try:
        passed = await TimeSkipper(temporal).fast_forward(temporal.get_workflow_handle(run.id), by)
    except RPCError as exc:
        if exc.status not in _OVER:
            raise
        passed = False
    if not passed:
        state = await run.status()
        raise RunClosed(
            f"run {run.id!r} has ended ({state.value}), {by} cannot pass for it", state=state.value
        )


class _Skipping(Interceptor):
    def __init__(self, client: Client) -> None:
        self._client = client

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Outbound(next, self._client)


class _Outbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, client: Client) -> None:
        super().__init__(next)
        self._client = client

    def fetch_workflow_history_events(
        self, input: FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        if input.wait_new_event and input.event_filter_type == WorkflowHistoryEventFilterType.CLOSE_EVENT:
            return _Waiting(self._client, input)
        return super().fetch_workflow_history_events(input)


class _Waiting(WorkflowHistoryEventAsyncIterator):
    def __init__(self, client: Client, input: FetchWorkflowHistoryEventsInput) -> None:
        super().__init__(client, input)
        self._temporal, self._run = client, (input.id, input.run_id or "")

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        skip = asyncio.create_task(self._skip())
        try:
            await super().fetch_next_page(page_size=page_size)
        finally:
            skip.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await skip

    async def _skip(self) -> None:
        await asyncio.sleep(_PATIENCE)
        await _switch_on(self._temporal, *self._run)


async def _switch_on(client: Client, run_id: str, execution_id: str) -> None:
    """Skip the idle time of a run and of its open children; those that it starts later inherit it."""
    request = UpdateWorkflowExecutionOptionsRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=run_id, run_id=execution_id),
        workflow_execution_options=WorkflowExecutionOptions(
            time_skipping_config=TimeSkippingConfig(enabled=True)
        ),
        update_mask=FieldMask(paths=["time_skipping_config"]),
    )
    try:
        await client.workflow_service.update_workflow_execution_options(request, retry=True)
        described = await client.get_workflow_handle(run_id, run_id=execution_id or None).describe()
    except RPCError as exc:
        if exc.status not in _OVER:
            raise
        return  # it has just ended
    children = described.raw_description.pending_children
    await asyncio.gather(*(_switch_on(client, child.workflow_id, child.run_id) for child in children))
