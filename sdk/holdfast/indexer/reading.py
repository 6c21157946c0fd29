"""One execution, read from Temporal and told as what the store keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client
from temporalio.converter import WorkflowSerializationContext
from temporalio.service import RPCError, RPCStatusCode

from holdfast.authoring.registry import registry
from holdfast.client.description import RunDescription
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.history import Opened, describe_events, describe_execution, open_payloads
from holdfast.engine.history.facts import Timeline
from holdfast.engine.history.off_loop import off_loop
from holdfast.engine.history.open_events import open_notes
from holdfast.engine.history.timeline import read_events
from holdfast.engine.start_memo import SPEC_MEMO
from holdfast.errors import HoldfastError, Unavailable
from holdfast.indexer.telling import events_of
from holdfast.indexer.usage import noted, usage_of
from holdfast.indexer.visibility import is_open
from holdfast.states import RunState
from holdfast.store.rows import IndexedRun

NO_HISTORY: Final = (
    "Temporal had deleted the history before it was read; steps, input and result are not known."
)

_REFUSED: Final = frozenset(
    {RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}
)
"""What says nothing of the one execution that was asked for."""

_DOUBTFUL: Final = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.UNKNOWN,
    }
)
"""What a server that is away says, and one that cannot decode a history."""

_ENDS: Final = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    }
)

_TIMEOUT: Final = timedelta(seconds=30)

_STATES: Final = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: RunState.COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: RunState.FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: RunState.CANCELLED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: RunState.TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW: RunState.COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: RunState.TIMED_OUT,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED: RunState.PAUSED,
}


class Unreadable(Exception):
    """The history of an execution cannot be read, or makes no sense. Never leaves the indexer."""

    def __init__(self, execution: WorkflowExecution, reason: str, *, doubtful: bool = False) -> None:
        super().__init__(reason)
        self.execution = execution
        self.doubtful = doubtful
        """Whether it may be that Temporal is away."""


_MAY_BE_DEAD: Final = (RunState.FAILED, RunState.TIMED_OUT, RunState.TERMINATED)


async def look(client: Client, execution: WorkflowExecution) -> DescribeWorkflowExecutionResponse:
    """What Temporal says of an execution without its history.

    Raises:
        NotFound: Temporal does not know it, or no longer.
        Unavailable: Temporal does not answer.
        Unreadable: Temporal cannot say.
    """
    try:
        return await describe_execution(client, execution.workflow_id, execution_id=execution.run_id)
    except RPCError as error:
        raise _meaning(execution, error) from error


async def read_listed(client: Client, info: WorkflowExecutionInfo) -> IndexedRun:
    """Read an execution that was listed. One call for one that is closed, two for one that is open.

    Raises:
        NotFound: It is open in the list, and Temporal does not know it any more.
        Unavailable: Temporal does not answer.
        Unreadable: Temporal cannot give its history, or that makes no sense.
    """
    if is_open(info):
        return await read_described(client, await look(client, info.execution))
    return await read_described(client, DescribeWorkflowExecutionResponse(workflow_execution_info=info))


async def read_described(client: Client, description: DescribeWorkflowExecutionResponse) -> IndexedRun:
    """Read an execution that was described. Of a closed one, what is in lists is enough.

    Raises:
        NotFound: Temporal has deleted it in this moment.
        Unavailable: Temporal does not answer.
        Unreadable: Temporal cannot give its history, or that makes no sense.
    """
    info = description.workflow_execution_info
    execution = info.execution
    observed = datetime.now(UTC)
    try:
        events = await _history(client, execution)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return await _without_history(client, description, observed)
        raise _meaning(execution, error) from error
    if is_open(info) and events and events[-1].event_type in _ENDS:
        # It ended in between: what was said of it, as its size, is not the last word.
        description = await look(client, execution)
        info = description.workflow_execution_info
    if not is_open(info):
        # Lists do not have all that a description has: a run is told alike, whichever way it was found.
        description = DescribeWorkflowExecutionResponse(workflow_execution_info=info)
    try:
        return await tell(client, description, events, observed)
    except RPCError as error:
        raise _meaning(execution, error) from error
    except HoldfastError:
        raise
    except Exception as error:  # a history of any SDK, of any version: none may stop the others
        raise Unreadable(execution, f"{type(error).__name__}: {error}") from error


async def _history(client: Client, execution: WorkflowExecution) -> Sequence[HistoryEvent]:
    # Not by the client's own method, which tries a damaged history for ten seconds: those have their own turns.
    events: list[HistoryEvent] = []
    token = b""
    while True:
        answer = await client.workflow_service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=client.namespace, execution=execution, next_page_token=token
            ),
            timeout=_TIMEOUT,
        )
        events += answer.history.events
        token = answer.next_page_token
        if not token:
            return events


async def tell(
    client: Client,
    description: DescribeWorkflowExecutionResponse,
    events: Sequence[HistoryEvent],
    observed: datetime,
) -> IndexedRun:
    """What the store keeps of an execution.

    Raises:
        ValueError: The events are no history. Those of other SDKs and versions may raise anything else.
    """
    info = description.workflow_execution_info
    if not events or not events[0].HasField("workflow_execution_started_event_attributes"):
        raise ValueError("its history does not begin with the start")
    start = events[0].workflow_execution_started_event_attributes
    line = await off_loop(len(events), partial(read_events, events))
    compensable = {step.name for step in registry().all_steps() if step.compensation}
    run = await describe_events(client, description, events, line=line, compensable=compensable)
    run = replace(run, execution_id=info.execution.run_id, history_event_count=len(events))
    return IndexedRun(
        run=run,
        observed=observed,
        last_event_id=events[-1].event_id,
        first_execution_id=start.first_execution_run_id or info.execution.run_id,
        first_task=_first_task(events),
        dag=start.workflow_type.name == DAG_WORKFLOW,
        begun_with=await _begun_with(client, start, run),
        usage=usage_of(line, await _opened(client, run.id, line)),
        events=events_of(run, events, await open_notes(client, run.id, events)),
    )


async def _begun_with(
    client: Client, start: WorkflowExecutionStartedEventAttributes, run: RunDescription
) -> dict[str, Any]:
    if run.state not in _MAY_BE_DEAD:
        return {}
    # What a run has written down of itself is not for another one; its time limit was written down for it.
    notes = {
        name: payload
        for name, payload in start.memo.fields.items()
        if name == SPEC_MEMO or not name.startswith("holdfast.")
    }
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=run.id)
    opened = await open_payloads(client.data_converter.with_context(context), notes.values())
    values = {name: opened.json(payload) for name, payload in notes.items()}
    facts = {
        "memo": {name: value for name, value in values.items() if value is not None},
        "priority": start.priority.priority_key,
        "task_timeout_seconds": start.workflow_task_timeout.ToTimedelta().total_seconds(),
    }
    return {name: value for name, value in facts.items() if value}


async def _opened(client: Client, run_id: str, line: Timeline) -> Opened:
    if client.data_converter.payload_codec is None:
        return Opened()
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=run_id)
    return await open_payloads(client.data_converter.with_context(context), noted(line))


def _first_task(events: Sequence[HistoryEvent]) -> datetime | None:
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            return event.event_time.ToDatetime(UTC)
    return None


async def _without_history(
    client: Client, description: DescribeWorkflowExecutionResponse, observed: datetime
) -> IndexedRun:
    info = description.workflow_execution_info
    run = await describe_events(client, description, [])
    closed = info.close_time.ToDatetime(UTC) if info.HasField("close_time") else None
    started = info.start_time.ToDatetime(UTC)
    run = replace(
        run,
        state=_STATES.get(info.status, RunState.RUNNING),
        started=started,
        closed=closed,
        duration=closed - started if closed else None,
        stuck=None,
        waiting_for=None,
    )
    return IndexedRun(
        run=run,
        observed=observed,
        last_event_id=0,  # it must not replace what was read while there was a history
        first_execution_id=info.first_run_id or None,
        dag=info.type.name == DAG_WORKFLOW,
        gap=NO_HISTORY,
    )


def _meaning(execution: WorkflowExecution, error: RPCError) -> Exception:
    if error.status in _REFUSED:
        return Unavailable(f"Temporal does not answer: {error.message}")
    said = f"Temporal says {error.status.name}: {error.message}"
    return Unreadable(execution, said, doubtful=error.status in _DOUBTFUL)
