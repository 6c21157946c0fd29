"""The picture of a run: what a DAG's document says, or what the history of any other run tells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.client import Client as TemporalClient
from temporalio.service import RPCError, RPCStatusCode

from holdfast.client.description import RunDescription
from holdfast.client.start import unavailable
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.given import GIVEN_MEMO
from holdfast.engine.history import Opened, build_description, describe_execution
from holdfast.engine.history.dag_graph import graph_of_dag
from holdfast.engine.history.graph import graph_of_events
from holdfast.engine.history.off_loop import off_loop
from holdfast.engine.history.open_events import open_events
from holdfast.engine.history.reused import read_reused
from holdfast.engine.history.timeline import read_events
from holdfast.spec.diagram import DiagramGraph

MAX_EVENTS: Final = 100_000
"""Of a run that continues as new again and again, the latest executions up to so many events are drawn."""
_DAG_ARGUMENTS: Final = 3


async def run_graph(client: TemporalClient, run_id: str) -> DiagramGraph:
    """The picture of a run; no worker is needed.

    Args:
        client: Where the run is.
        run_id: The run's id: of Holdfast's or of anybody's.

    Raises:
        NotFound: There is no such run.
        Unavailable: The server does not answer.
    """
    try:
        described = await describe_execution(client, run_id)
        executions = await read_executions(client, run_id, described.workflow_execution_info.execution.run_id)
    except RPCError as exc:
        raise unavailable(exc) from exc
    opened = await open_executions(client, run_id, executions)

    def draw() -> DiagramGraph:
        now = datetime.now(UTC)
        description = build_description(executions[-1], described, opened, now=now)
        return graph_of_run(executions, opened, description)

    return await off_loop(sum(map(len, executions)), draw)


async def open_executions(
    client: TemporalClient, run_id: str, executions: Sequence[Sequence[HistoryEvent]]
) -> Opened:
    """Open what a codec hid, as far as a picture needs it."""
    events = [event for execution in executions for event in execution]
    return await open_events(client, run_id, events, _dag_arguments(executions) + _given(executions))


def _given(executions: Sequence[Sequence[HistoryEvent]]) -> list[Payload]:
    """What the executions of a DAG were given of earlier ones."""
    if not _dag_arguments(executions):
        return []
    memos = [execution[0].workflow_execution_started_event_attributes.memo.fields for execution in executions]
    return [memo[GIVEN_MEMO] for memo in memos if GIVEN_MEMO in memo]


def graph_of_run(
    executions: Sequence[Sequence[HistoryEvent]], opened: Opened, description: RunDescription
) -> DiagramGraph:
    """The picture of a run whose histories were read already.

    Args:
        executions: Those that continue each other, the latest last.
        opened: What `open_executions` gave.
        description: The run's, for steps that are open.
    """
    events = [event for execution in executions for event in execution]
    arguments = _dag_arguments(executions)
    if arguments:
        document, _, carried = [opened.json(payload) for payload in arguments] + [None] * (
            _DAG_ARGUMENTS - len(arguments)
        )
        reused = [read_reused(read_events(execution), opened) for execution in executions]
        steps = [step for found in reused if found is not None for step in found.steps]
        drawn = graph_of_dag(
            events, document, carried=carried, description=description, opened=opened, reused=steps
        )
        if drawn is not None:
            return drawn
    return graph_of_events(events, description=description, opened=opened)


def _dag_arguments(executions: Sequence[Sequence[HistoryEvent]]) -> list[Payload]:
    """What a run of a DAG was started with; nothing for any other run."""
    start = start_of(executions[-1])
    if start is None or start.workflow_type.name != DAG_WORKFLOW:
        return []
    return list(start.input.payloads[:_DAG_ARGUMENTS])


def dag_of_run(executions: Sequence[Sequence[HistoryEvent]], opened: Opened) -> JsonValue:
    """The document of a run of a DAG; None for any other run."""
    arguments = _dag_arguments(executions)
    return opened.json(arguments[0]) if arguments else None


async def read_executions(
    client: TemporalClient, run_id: str, execution_id: str
) -> list[Sequence[HistoryEvent]]:
    """The histories of the executions that continue each other, the latest last."""
    found: list[Sequence[HistoryEvent]] = []
    count = 0
    while execution_id:
        try:
            history = await client.get_workflow_handle(run_id, run_id=execution_id).fetch_history()
        except RPCError as exc:
            if found and exc.status is RPCStatusCode.NOT_FOUND:
                break  # it is past its retention
            raise
        count += len(history.events)
        if found and count > MAX_EVENTS:
            break
        found.append(history.events)
        start = start_of(history.events)
        execution_id = start.continued_execution_run_id if start is not None else ""
    return found[::-1]


def start_of(events: Sequence[HistoryEvent]) -> WorkflowExecutionStartedEventAttributes | None:
    """How an execution was started; None where its first event is missing."""
    return events[0].workflow_execution_started_event_attributes if events else None
