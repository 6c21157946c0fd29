"""What a run asks of Temporal, in one form: what a history recorded, and what today's code asks for in a replay."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

import temporalio
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails

import holdfast
from holdfast.engine.dag.nodes import NODE

LineOfCode: TypeAlias = tuple[str, int]
"""A file and the number of a line."""

_ORIGIN_FRAMES: Final = 12
_LOCAL_MARKER: Final = "core_local_activity"
_VERSIONS: Final = "TemporalChangeVersion"
_ACTIVATE: Final = "listening_activate"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One thing that a run asks for."""

    kind: str
    """`step`, `local step`, `timer`, `child run`, `end`, or another one of Temporal's."""
    name: str = ""
    """The step or workflow; how the run ends."""
    id: str = ""
    """What tells it from others of its name, where Temporal compares that."""
    event_id: int = 0
    """In the history; 0 for today's code."""
    line: LineOfCode | None = None
    """Where today's code asks for it."""
    activation: int = 0
    """In which turn today's code asks for it."""
    number: int = 0
    """The number of a timer or local step."""

    def fits(self, other: Command) -> bool:
        """Whether a replay takes one for the other."""
        return (self.kind, self.name, self.id) == (other.kind, other.name, other.id)

    def __str__(self) -> str:
        if self.kind == "end":
            return self.name
        return f"{self.kind} {self.name!r}" if self.name else f"a {self.kind}"


def recorded_commands(events: Sequence[HistoryEvent]) -> list[Command]:
    """What the run asked for, as its history has it."""
    return [command for event in events if (command := _recorded(event)) is not None]


def _recorded(event: HistoryEvent) -> Command | None:
    at = event.event_id
    match event.event_type:
        case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            step = event.activity_task_scheduled_event_attributes
            return Command(
                kind="step",
                name=step.activity_type.name.removeprefix(NODE),
                id=step.activity_id,
                event_id=at,
            )
        case EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            child = event.start_child_workflow_execution_initiated_event_attributes
            return Command(kind="child run", name=child.workflow_type.name, id=child.workflow_id, event_id=at)
        case EventType.EVENT_TYPE_MARKER_RECORDED:
            return _local(event)
        case EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
            upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes
            if set(upserted.indexed_fields) == {_VERSIONS}:
                return None  # which comes with a patch
            return Command(kind="search attribute", event_id=at)
        case kind if kind in _RECORDED:
            kind_name, name = _RECORDED[kind]
            return Command(kind=kind_name, name=name, event_id=at)
        case _:
            return None


def _local(event: HistoryEvent) -> Command | None:
    marker = event.marker_recorded_event_attributes
    if marker.marker_name != _LOCAL_MARKER or "data" not in marker.details:
        return None
    data: dict[str, Any] = json.loads(marker.details["data"].payloads[0].data)
    name = str(data.get("activity_type", "")).removeprefix(NODE)
    return Command(kind="local step", name=name, event_id=event.event_id, number=int(data.get("seq", 0)))


_RECORDED: Final[dict[int, tuple[str, str]]] = {
    EventType.EVENT_TYPE_TIMER_STARTED: ("timer", ""),
    EventType.EVENT_TYPE_WORKFLOW_PROPERTIES_MODIFIED: ("wait", ""),
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: ("signal to another run", ""),
    EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: ("cancel of another run", ""),
    EventType.EVENT_TYPE_NEXUS_OPERATION_SCHEDULED: ("nexus operation", ""),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: ("end", "completes"),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: ("end", "fails"),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: ("end", "ends cancelled"),
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: ("end", "continues as new"),
}
_ASKED: Final[dict[str, tuple[str, str]]] = {
    "start_timer": ("timer", ""),
    "modify_workflow_properties": ("wait", ""),
    "upsert_workflow_search_attributes": ("search attribute", ""),
    "signal_external_workflow_execution": ("signal to another run", ""),
    "request_cancel_external_workflow_execution": ("cancel of another run", ""),
    "schedule_nexus_operation": ("nexus operation", ""),
    "complete_workflow_execution": ("end", "completes"),
    "fail_workflow_execution": ("end", "fails"),
    "cancel_workflow_execution": ("end", "ends cancelled"),
    "continue_as_new_workflow_execution": ("end", "continues as new"),
}


class ListeningRunner(UnsandboxedWorkflowRunner):
    """Runs workflow code for a replay, and notes what it asks for and on which line. Lines come from a method of
    temporalio's that is not public; without it, nothing is noted."""

    def __init__(self) -> None:
        self._asked: list[tuple[Any, LineOfCode | None, int]] = []

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See `WorkflowRunner`."""
        instance: Any = super().create_instance(det)
        add, activate, turn = getattr(instance, "_add_command", None), instance.activate, 0

        def listening_add() -> Any:
            assert add is not None
            command = add()
            self._asked.append((command, _line(), turn))
            return command

        def listening_activate(activation: Any) -> Any:
            nonlocal turn
            turn += 1
            depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(_ORIGIN_FRAMES)
            try:
                return activate(activation)
            finally:
                sys.set_coroutine_origin_tracking_depth(depth)

        if add is not None:
            instance._add_command, instance.activate = listening_add, listening_activate
        made: WorkflowInstance = instance
        return made

    def asked(self) -> list[Command]:
        """What today's code asked for, in its order."""
        dropped = {
            (turn, command.cancel_timer.seq)
            for command, _, turn in self._asked
            if command.WhichOneof("variant") == "cancel_timer"
        }
        found = [
            made for command, line, turn in self._asked if (made := _asked(command, line, turn)) is not None
        ]
        # A timer that starts and is cancelled in one turn never reaches the server.
        return [one for one in found if one.kind != "timer" or (one.activation, one.number) not in dropped]


def _asked(command: Any, line: LineOfCode | None, turn: int) -> Command | None:
    variant: str | None = command.WhichOneof("variant")
    if variant == "schedule_activity":
        step = command.schedule_activity
        name = step.activity_type.removeprefix(NODE)
        return Command(kind="step", name=name, id=step.activity_id, line=line, activation=turn)
    if variant == "schedule_local_activity":
        local = command.schedule_local_activity
        name = local.activity_type.removeprefix(NODE)
        return Command(kind="local step", name=name, line=line, activation=turn, number=local.seq)
    if variant == "start_child_workflow_execution":
        child = command.start_child_workflow_execution
        return Command(
            kind="child run", name=child.workflow_type, id=child.workflow_id, line=line, activation=turn
        )
    if variant not in _ASKED:
        return None
    kind, name = _ASKED[variant]
    number = command.start_timer.seq if variant == "start_timer" else 0
    return Command(kind=kind, name=name, line=line, activation=turn, number=number)


_NOT_USERS: Final = (
    *(
        f"{Path(found).parent}/"
        for found in (temporalio.__file__, holdfast.__file__, asyncio.__file__)
        if found
    ),
    str(Path(asyncio.__file__).parent.parent / "contextlib.py"),
)
"""Where the beginnings of files are that are none of the user's."""


def _line() -> LineOfCode | None:
    """The user's line that is being executed; of a task of its own, the line that made its coroutine."""
    places: list[tuple[str, int, str]] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        places.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    task = asyncio.current_task()
    origin = getattr(task.get_coro(), "cr_origin", None) if task is not None else None
    for way in (places, origin or ()):
        for file, line, function in way:
            if function == _ACTIVATE:
                break  # what is beyond is the thread that replays
            if _is_users(file):
                return file, line
    return None


def _is_users(file: str) -> bool:
    return not file.startswith((*_NOT_USERS, "<"))
