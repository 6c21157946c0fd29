"""The picture of a run: what a DAG's document says, or what the history of any other run tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.client import Client as TemporalClient
from temporalio.converter import WorkflowSerializationContext
from temporalio.service import RPCError, RPCStatusCode

from holdfast.client.start import unavailable
from holdfast.engine.history import build_description, describe_execution, open_payloads
from holdfast.engine.history.build import WAITS_MEMO
from holdfast.engine.history.dag_graph import DAG_WORKFLOW, graph_of_dag
from holdfast.engine.history.graph import graph_of_events
from holdfast.spec.diagram import DiagramGraph

T = TypeVar("T")

MAX_EVENTS: Final = 100_000
"""Of a run that continues as new again and again, the latest executions up to so many events are drawn."""
_THREAD_EVENTS: Final = 2000
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
        executions = await _executions(client, run_id, described.workflow_execution_info.execution.run_id)
    except RPCError as exc:
        raise unavailable(exc) from exc
    events = [event for execution in executions for event in execution]
    start = _start(executions[-1])
    is_dag = start is not None and start.workflow_type.name == DAG_WORKFLOW
    arguments = list(start.input.payloads[:_DAG_ARGUMENTS]) if start is not None and is_dag else []
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=run_id)
    converter = client.data_converter.with_context(context)
    encoded = _payloads(events) if converter.payload_codec is not None else ()
    opened = await open_payloads(converter, encoded, [*arguments, *_waits(events)])

    def draw() -> DiagramGraph:
        now = datetime.now(UTC)
        description = build_description(executions[-1], described, opened, now=now)
        if is_dag:
            document, _, carried = [opened.json(payload) for payload in arguments] + [None] * (
                _DAG_ARGUMENTS - len(arguments)
            )
            drawn = graph_of_dag(events, document, carried=carried, description=description, opened=opened)
            if drawn is not None:
                return drawn
        return graph_of_events(events, description=description, opened=opened)

    return await _off_loop(len(events), draw)


async def _executions(client: TemporalClient, run_id: str, execution_id: str) -> list[Sequence[HistoryEvent]]:
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
        start = _start(history.events)
        execution_id = start.continued_execution_run_id if start is not None else ""
    return found[::-1]


def _start(events: Sequence[HistoryEvent]) -> WorkflowExecutionStartedEventAttributes | None:
    return events[0].workflow_execution_started_event_attributes if events else None


def _waits(events: Iterable[HistoryEvent]) -> list[Payload]:
    """What the run wrote down of its waits, which can be large enough to lie in storage."""
    memos = (event.workflow_properties_modified_event_attributes.upserted_memo.fields for event in events)
    return [memo[WAITS_MEMO] for memo in memos if WAITS_MEMO in memo]


def _payloads(events: Iterable[HistoryEvent]) -> Iterable[Payload]:
    """What a codec may have to open: arguments, results, summaries, notes."""
    for event in events:
        attributes = getattr(event, event.WhichOneof("attributes") or "", None)
        if attributes is None:
            continue
        for name in attributes.DESCRIPTOR.fields_by_name.keys() & {"input", "result", "accepted_request"}:
            held = getattr(attributes, name)
            if name == "accepted_request":
                held = held.input.args
            yield from [held] if isinstance(held, Payload) else held.payloads
        if event.HasField("marker_recorded_event_attributes"):
            for held in attributes.details.values():
                yield from held.payloads
        if event.HasField("workflow_properties_modified_event_attributes"):
            yield from attributes.upserted_memo.fields.values()
        if event.HasField("user_metadata"):
            yield event.user_metadata.summary


async def _off_loop(event_count: int, work: Callable[[], T]) -> T:
    # A second of work for a long history would hold up a worker on the same loop.
    return await asyncio.to_thread(work) if event_count > _THREAD_EVENTS else work()
