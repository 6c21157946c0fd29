"""Everything on a Temporal server that can hold a payload."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import Message
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeActivityExecutionRequest,
    DescribeScheduleRequest,
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    ListActivityExecutionsRequest,
    ListNamespacesRequest,
    ListSchedulesRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

_INTERNAL = "temporal-system"


@dataclass(frozen=True)
class Source:
    """Something to read: its name for messages, and how to read it."""

    name: str
    messages: Callable[[], AsyncIterator[Message]]


async def sources(
    client: Client, namespaces: Sequence[str] | None, *, started_since: datetime | None = None
) -> AsyncIterator[Source]:
    """Every execution, schedule and standalone activity.

    Args:
        client: Connected to the server.
        namespaces: `None` is every namespace of the server but Temporal's own.
        started_since: Only executions that started since.
    """
    for namespace in namespaces if namespaces is not None else await _namespaces(client):
        async for source in _executions(client, namespace, started_since):
            yield source
        async for source in _schedules(client, namespace):
            yield source
        async for source in _activities(client, namespace):
            yield source


async def _namespaces(client: Client) -> list[str]:
    names: list[str] = []
    token = b""
    while True:
        page = await client.workflow_service.list_namespaces(
            ListNamespacesRequest(page_size=100, next_page_token=token), retry=True
        )
        names.extend(found.namespace_info.name for found in page.namespaces)
        if not (token := page.next_page_token):
            return [name for name in names if name != _INTERNAL]


async def _executions(client: Client, namespace: str, since: datetime | None) -> AsyncIterator[Source]:
    query = f"StartTime >= '{since.isoformat()}'" if since else ""
    token = b""
    while True:
        page = await client.workflow_service.list_workflow_executions(
            ListWorkflowExecutionsRequest(
                namespace=namespace, page_size=200, query=query, next_page_token=token
            ),
            retry=True,
        )
        for info in page.executions:
            yield _execution(client, namespace, info)
        if not (token := page.next_page_token):
            return


def _execution(client: Client, namespace: str, info: WorkflowExecutionInfo) -> Source:
    async def messages() -> AsyncIterator[Message]:
        yield info
        token = b""
        while True:
            page = await client.workflow_service.get_workflow_execution_history(
                GetWorkflowExecutionHistoryRequest(
                    namespace=namespace, execution=info.execution, next_page_token=token
                ),
                retry=True,
            )
            yield page
            if not (token := page.next_page_token):
                break
        if info.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING:
            # The last heartbeat of a pending activity is in no history yet.
            yield await client.workflow_service.describe_workflow_execution(
                DescribeWorkflowExecutionRequest(namespace=namespace, execution=info.execution), retry=True
            )

    return Source(f"{namespace}/{info.execution.workflow_id}/{info.execution.run_id}", messages)


async def _schedules(client: Client, namespace: str) -> AsyncIterator[Source]:
    token = b""
    while True:
        page = await client.workflow_service.list_schedules(
            ListSchedulesRequest(namespace=namespace, maximum_page_size=100, next_page_token=token),
            retry=True,
        )
        for found in page.schedules:
            yield _schedule(client, namespace, found.schedule_id)
        if not (token := page.next_page_token):
            return


def _schedule(client: Client, namespace: str, schedule_id: str) -> Source:
    async def messages() -> AsyncIterator[Message]:
        yield await client.workflow_service.describe_schedule(
            DescribeScheduleRequest(namespace=namespace, schedule_id=schedule_id), retry=True
        )

    return Source(f"{namespace}/schedule {schedule_id}", messages)


async def _activities(client: Client, namespace: str) -> AsyncIterator[Source]:
    token = b""
    while True:
        try:
            page = await client.workflow_service.list_activity_executions(
                ListActivityExecutionsRequest(namespace=namespace, page_size=100, next_page_token=token),
                retry=True,
            )
        except RPCError as error:
            if error.status == RPCStatusCode.UNIMPLEMENTED:
                return  # an older server has none
            raise
        for found in page.executions:
            yield _activity(client, namespace, found.activity_id, found.run_id)
        if not (token := page.next_page_token):
            return


def _activity(client: Client, namespace: str, activity_id: str, run_id: str) -> Source:
    async def messages() -> AsyncIterator[Message]:
        yield await client.workflow_service.describe_activity_execution(
            DescribeActivityExecutionRequest(
                namespace=namespace,
                activity_id=activity_id,
                run_id=run_id,
                include_input=True,
                include_outcome=True,
                include_heartbeat_details=True,
                include_last_failure=True,
            ),
            retry=True,
        )

    return Source(f"{namespace}/activity {activity_id}", messages)
