"""Which executions are there: Temporal's lists, a page at a time, newest first."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Final

from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, ListWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.service import RPCError

from holdfast.errors import Unavailable

PAGE: Final = 500

_OPEN = (
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED,
)


def is_open(info: WorkflowExecutionInfo) -> bool:
    """Whether an execution has not ended."""
    return info.status in _OPEN


async def list_closed(client: Client, since: datetime) -> AsyncGenerator[Sequence[WorkflowExecutionInfo]]:
    """Executions that closed at `since` or later.

    Raises:
        Unavailable: Temporal does not answer.
    """
    async for page in _pages(client, f'CloseTime >= "{_written(since)}"'):
        yield page


async def list_open(
    client: Client, since: datetime, until: datetime | None = None
) -> AsyncGenerator[Sequence[WorkflowExecutionInfo]]:
    """Open executions that started at `since` or later, and not after `until`.

    Raises:
        Unavailable: Temporal does not answer.
    """
    query = f'CloseTime IS NULL AND StartTime >= "{_written(since)}"'
    if until is not None:
        query += f' AND StartTime <= "{_written(until)}"'
    async for page in _pages(client, query):
        yield page


async def count_closed(client: Client, begin: datetime, end: datetime) -> int:
    """How many executions closed from `begin` on and before `end`.

    Raises:
        Unavailable: Temporal does not answer.
    """
    return await _count(client, f'CloseTime >= "{_written(begin)}" AND CloseTime < "{_written(end)}"')


async def count_all(client: Client) -> int:
    """How many executions Temporal has.

    Raises:
        Unavailable: Temporal does not answer.
    """
    return await _count(client, "")


async def _count(client: Client, query: str) -> int:
    request = CountWorkflowExecutionsRequest(namespace=client.namespace, query=query)
    try:
        return (await client.workflow_service.count_workflow_executions(request)).count
    except RPCError as error:
        raise Unavailable(f"Temporal does not count its runs: {error.message}") from error


async def _pages(client: Client, query: str) -> AsyncGenerator[Sequence[WorkflowExecutionInfo]]:
    token = b""
    while True:
        request = ListWorkflowExecutionsRequest(
            namespace=client.namespace, page_size=PAGE, next_page_token=token, query=query
        )
        try:
            answer = await client.workflow_service.list_workflow_executions(request)
        except RPCError as error:
            raise Unavailable(f"Temporal does not list its runs: {error.message}") from error
        yield answer.executions
        token = answer.next_page_token
        if not token:
            return


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
