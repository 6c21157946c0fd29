"""The payloads of events that tell what a run has done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic_core import from_json
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import HistoryEvent

from holdfast.engine.children import MAP_WORKFLOW
from holdfast.engine.data.values import is_object
from holdfast.engine.payloads import NULL
from holdfast.engine.start_memo import SPEC_MEMO

UNDO_PART: Final = b'"undo"'
"""The first argument of a run that undoes a part of a map."""


def payloads_of(event: HistoryEvent) -> Iterator[Payload]:
    """The payloads of an event that `Done` reads, to be opened in place."""
    match event.WhichOneof("attributes"):
        case "activity_task_scheduled_event_attributes":
            yield from event.activity_task_scheduled_event_attributes.input.payloads
        case "activity_task_completed_event_attributes":
            yield from event.activity_task_completed_event_attributes.result.payloads
        case "activity_task_failed_event_attributes":
            failure = event.activity_task_failed_event_attributes.failure
            yield from failure.application_failure_info.details.payloads
        case "marker_recorded_event_attributes":
            for held in event.marker_recorded_event_attributes.details.values():
                yield from held.payloads
        case "start_child_workflow_execution_initiated_event_attributes":
            child = event.start_child_workflow_execution_initiated_event_attributes
            yield from child.input.payloads
            yield from (value for key, value in child.memo.fields.items() if key == SPEC_MEMO)
        case "child_workflow_execution_completed_event_attributes":
            yield from event.child_workflow_execution_completed_event_attributes.result.payloads
        case "workflow_execution_signaled_event_attributes":
            yield from event.workflow_execution_signaled_event_attributes.input.payloads
        case "workflow_execution_update_accepted_event_attributes":
            update = event.workflow_execution_update_accepted_event_attributes
            yield from update.accepted_request.input.args.payloads
        case _:
            return


def undoing_part(name: str, payloads: list[Payload]) -> dict[str, Any]:
    """What a run is given that undoes the part of a map, if its map has a compensation."""
    plan = json_of(payloads[1]) if name == MAP_WORKFLOW and len(payloads) > 4 else None
    if not is_object(plan) or not plan.get("undo"):
        return {}
    undo = Payload(metadata={"encoding": b"json/plain"}, data=UNDO_PART)
    return {"undoable": True, "arguments": [undo, *payloads[1:5]]}


def is_partial(result: Payload) -> bool:
    """Whether the run of a part of a map has left out or failed some of its items."""
    found = json_of(result)
    return is_object(found) and bool(found.get("failed") or found.get("rest"))


def type_of(data: Payloads) -> str | None:
    """The type of activity that the data of a marker name."""
    found = json_of(first(data))
    name = found.get("activity_type") if is_object(found) else None
    return name if isinstance(name, str) else None


def first(payloads: Payloads) -> Payload:
    """The first of them; null if there is none."""
    return payloads.payloads[0] if payloads.payloads else NULL


def json_of(payload: Payload) -> Any:
    """Its JSON; None if it has none."""
    try:
        return from_json(payload.data)
    except ValueError:
        return None


def envelope(payload: Payload) -> str | None:
    """The id in the envelope of a message, if this is one."""
    found = json_of(payload)
    message_id = found.get("id") if is_object(found) else None
    return message_id if isinstance(message_id, str) else None
