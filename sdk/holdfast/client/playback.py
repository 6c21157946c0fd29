"""Reads a recorded run, to play it back or to count what it took."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client as TemporalClient
from temporalio.service import RPCError

from holdfast.client.cost import RunCost
from holdfast.client.description import RunDescription
from holdfast.client.diagram import dag_of_run, graph_of_run, open_executions, read_executions, start_of
from holdfast.client.frames import Frames
from holdfast.client.start import unavailable
from holdfast.engine.history import Opened, describe_events, describe_execution
from holdfast.engine.history.boxes import NodeOf, node_of, read_boxes
from holdfast.engine.history.cost import count_cost
from holdfast.engine.history.frames import build_frames
from holdfast.engine.history.off_loop import off_loop
from holdfast.errors import HoldfastError
from holdfast.spec.diagram import DiagramGraph
from holdfast.spec.document import load_value


@dataclass(frozen=True, kw_only=True)
class Playback:
    """A recorded run: as it is, as a row of frames, and as a picture."""

    description: RunDescription
    frames: Frames
    graph: DiagramGraph
    executions: Sequence[Sequence[HistoryEvent]]
    opened: Opened
    """The payloads that a codec had to open."""


async def read_playback(client: TemporalClient, run_id: str) -> Playback:
    """Read a run to play it back; no worker is needed.

    Args:
        client: Where the run is.
        run_id: The run's id: of Holdfast's or of anybody's.

    Raises:
        NotFound: There is no such run.
        Unavailable: The server does not answer.
    """
    executions, description, opened = await _read(client, run_id)
    return await off_loop(sum(map(len, executions)), lambda: make_playback(executions, description, opened))


async def read_cost(client: TemporalClient, run_id: str, *, compensable: Collection[str] = ()) -> RunCost:
    """Count what a run took.

    Args:
        client: Where the run is.
        run_id: The run's id.
        compensable: Names of steps that are known to have a compensation.

    Raises:
        NotFound: There is no such run.
        Unavailable: The server does not answer.
    """
    executions, description, opened = await _read(client, run_id)
    return await off_loop(
        sum(map(len, executions)),
        lambda: count_cost(
            executions, opened, description=description, compensable=compensable, is_cut=_is_cut(executions)
        ),
    )


async def _read(
    client: TemporalClient, run_id: str
) -> tuple[list[Sequence[HistoryEvent]], RunDescription, Opened]:
    try:
        described = await describe_execution(client, run_id)
        executions = await read_executions(client, run_id, described.workflow_execution_info.execution.run_id)
        description = await describe_events(client, described, executions[-1], reused=True)
    except RPCError as exc:
        raise unavailable(exc) from exc
    return executions, description, await open_executions(client, run_id, executions)


def _is_cut(executions: Sequence[Sequence[HistoryEvent]]) -> bool:
    start = start_of(executions[0])
    return start is None or bool(start.continued_execution_run_id)


def make_playback(
    executions: Sequence[Sequence[HistoryEvent]], description: RunDescription, opened: Opened
) -> Playback:
    """As `read_playback`, for what was read already."""
    events = [event for execution in executions for event in execution]
    graph = graph_of_run(executions, opened, description)
    return Playback(
        description=description,
        frames=build_frames(
            executions,
            opened,
            description=description,
            boxes=read_boxes(events, opened, _nodes(executions, opened)),
            graph=graph,
            is_cut=_is_cut(executions),
        ),
        graph=graph,
        executions=executions,
        opened=opened,
    )


def _nodes(executions: Sequence[Sequence[HistoryEvent]], opened: Opened) -> NodeOf | None:
    document = dag_of_run(executions, opened)
    if document is None:
        return None
    try:
        return node_of(load_value(document))
    except HoldfastError:
        return None  # of another version: the picture is inferred, as for code
