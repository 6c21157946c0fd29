"""Reading a run from the server."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest,
)
from temporalio.client import Client
from temporalio.converter import WorkflowSerializationContext
from temporalio.service import RPCError, RPCStatusCode

from holdfast.client.description import RunDescription
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.given import GIVEN_MEMO, ORIGIN_MEMO
from holdfast.engine.history.build import CARRY_MEMO, COMPENSATING_MEMO, WAITS_MEMO, describe_timeline
from holdfast.engine.history.dag_facts import DagFacts
from holdfast.engine.history.facts import Timeline
from holdfast.engine.history.off_loop import off_loop
from holdfast.engine.history.open_events import open_events
from holdfast.engine.history.payloads import Opened, failure_payloads, open_payloads
from holdfast.engine.history.reused import with_left, with_reused
from holdfast.engine.history.sentences import asks_to_decide
from holdfast.engine.history.stuck import reason
from holdfast.engine.history.timeline import read_events
from holdfast.engine.start_memo import TRIGGER_MEMO
from holdfast.errors import NotFound
from holdfast.states import RunState

_NEEDED = (WAITS_MEMO, COMPENSATING_MEMO, CARRY_MEMO, TRIGGER_MEMO, ORIGIN_MEMO)
"""What is read of a run's memo to describe it."""


async def describe_run(
    client: Client, workflow_id: str, *, execution_id: str | None = None, compensable: Collection[str] = ()
) -> RunDescription:
    """Describe a run: its latest execution, or the given one.

    Args:
        client: Where the run is.
        workflow_id: The run's id.
        execution_id: Temporal's run id of one execution.
        compensable: Names of steps that are known to have a compensation.

    Raises:
        NotFound: There is no such run.
    """
    # First the description, then the history: what ends in between, the history knows better.
    description = await describe_execution(client, workflow_id, execution_id=execution_id)
    execution = description.workflow_execution_info.execution
    handle = client.get_workflow_handle(workflow_id, run_id=execution.run_id)
    events = (await handle.fetch_history()).events
    return await describe_events(client, description, events, compensable=compensable, reused=True)


async def describe_events(
    client: Client,
    description: DescribeWorkflowExecutionResponse,
    events: Sequence[HistoryEvent],
    *,
    line: Timeline | None = None,
    compensable: Collection[str] = (),
    reused: bool = False,
) -> RunDescription:
    """As `describe_run`, for what was fetched already.

    Args:
        client: Where the run is: its codec reads payloads, and an open run may be stuck for want of a worker.
        description: The server's answer to a describe request, older than the events. Of a closed run what a list says
            of it is enough.
        events: All events of the execution.
        line: What `read_events` made of them, where that is there already.
        compensable: Names of steps that are known to have a compensation.
        reused: Whether steps that the run was given are told too; those of a long run are fetched from the storage. Of
            a retried run that has ended otherwise than it should, what of them is still to be undone is always told.
    """
    workflow_id = description.workflow_execution_info.execution.workflow_id
    if line is None:
        line = await off_loop(len(events), partial(read_events, events))
    now = datetime.now(UTC)
    stuck = await reason(client, description, line.task_failure, now=now) if line.end is None else None
    left = GIVEN_MEMO in line.memo and line.end not in (None, RunState.COMPLETED)
    opened = await _open(client, workflow_id, line, description, reused=reused or left)
    build = partial(
        describe_timeline, line, description, opened, now=now, stuck=stuck, compensable=compensable
    )
    described = await off_loop(len(events), build)
    if reused:
        described = with_reused(described, line, opened, compensable=compensable)
    elif left:
        described = with_left(described, line, opened, compensable=compensable)
    if described.state not in (RunState.RUNNING, RunState.WAITING) or not _is_dag(line):
        return described
    return await _with_decisions(client, described, line, events, opened)


def _is_dag(line: Timeline) -> bool:
    return line.start is not None and line.start.workflow_type.name == DAG_WORKFLOW


async def _with_decisions(
    client: Client, run: RunDescription, line: Timeline, events: Sequence[HistoryEvent], opened: Opened
) -> RunDescription:
    """The description of a DAG's open run, with the nodes that failed and wait for somebody to decide."""
    if line.start is None or not DagFacts(line, opened).asks_after_failures:
        return run
    from holdfast.engine.history.dag_graph import undecided_nodes  # slow to import, and few runs ask

    arguments = list(line.start.input.payloads[:3])
    seen = await open_events(client, run.id, events, arguments)
    document, _, carried = [*map(seen.json, arguments), None, None, None][:3]
    find = partial(undecided_nodes, events, document, carried=carried, description=run, opened=seen)
    nodes = await off_loop(len(events), find)
    return replace(run, waiting_for=asks_to_decide(run, nodes)) if nodes else run


async def describe_execution(
    client: Client, workflow_id: str, *, execution_id: str | None = None
) -> DescribeWorkflowExecutionResponse:
    """The server's own description, raw: the SDK's refuses runs that the server itself has paused.

    Raises:
        NotFound: There is no such run.
    """
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=execution_id or "")
    try:
        return await client.workflow_service.describe_workflow_execution(
            DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=execution)
        )
    except RPCError as error:
        # The server answers INVALID_ARGUMENT to an execution id that is no UUID.
        if error.status is RPCStatusCode.NOT_FOUND or (
            execution_id and error.status is RPCStatusCode.INVALID_ARGUMENT
        ):
            which = f" with execution {execution_id!r}" if execution_id else ""
            raise NotFound(
                f"There is no run {workflow_id!r}{which} in namespace {client.namespace!r}; it may be over and past "
                "its retention."
            ) from error
        raise


async def last_events(
    client: Client, workflow_id: str, *, execution_id: str | None = None, count: int = 50
) -> Sequence[HistoryEvent]:
    """The last events of a run in their order, enough for `why_stuck` without reading a long history."""
    answer = await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=execution_id or ""),
            maximum_page_size=count,
        )
    )
    return list(reversed(answer.history.events))


async def _open(
    client: Client,
    workflow_id: str,
    line: Timeline,
    description: DescribeWorkflowExecutionResponse,
    *,
    reused: bool,
) -> Opened:
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=workflow_id)
    keys = (*_NEEDED, *([GIVEN_MEMO] if reused else ()))
    needed = [line.memo[key] for key in keys if key in line.memo] + (line.reused if reused else [])
    return await open_payloads(
        client.data_converter.with_context(context), _payloads(line, description), needed
    )


def _payloads(line: Timeline, description: DescribeWorkflowExecutionResponse) -> Iterable[Payload]:
    failures: list[Failure | None] = [line.failure]
    yield from line.start.input.payloads if line.start else ()
    yield from (payload for payload in (line.result, line.pause, line.hold) if payload is not None)
    yield from line.memo.values()
    yield from line.reused
    for timer in line.timers.values():
        yield from [timer.summary] if timer.summary else ()
    for step in line.steps:
        yield from step.input
        yield from (payload for payload in (step.result, step.summary) if payload is not None)
        failures += [step.failure, step.last_failure]
    failures += [pending.last_failure for pending in description.pending_activities]
    for failure in failures:
        yield from failure_payloads(failure)
