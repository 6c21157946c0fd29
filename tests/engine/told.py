"""Histories written by hand, event by event, as a Temporal server orders them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent


def plain(value: object) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=to_json(value))


class Told:
    """A history in the making. Each event is a second after the one before."""

    def __init__(self, workflow: str = "told") -> None:
        self.events: list[HistoryEvent] = []
        started = self._event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
        started.workflow_execution_started_event_attributes.workflow_type.name = workflow

    def _event(self, kind: EventType.ValueType) -> HistoryEvent:
        event = HistoryEvent(event_id=len(self.events) + 1, event_type=kind)
        event.event_time.seconds = 1_800_000_000 + len(self.events)
        self.events.append(event)
        return event

    def task(self, *names: str, values: Sequence[object] = ()) -> list[int]:
        """A workflow task that schedules these activities, each with one argument if `values` has it."""
        self._event(EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)
        self._event(EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
        self._event(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
        found: list[int] = []
        for index, name in enumerate(names):
            event = self._event(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
            attributes = event.activity_task_scheduled_event_attributes
            attributes.activity_type.name, attributes.activity_id = name, str(event.event_id)
            if index < len(values):
                attributes.input.payloads.append(plain(values[index]))
            found.append(event.event_id)
        return found

    def done(self, scheduled: int, result: object = None) -> None:
        event = self._event(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
        attributes = event.activity_task_completed_event_attributes
        attributes.scheduled_event_id = scheduled
        attributes.result.payloads.append(plain(result))

    def failed(self, scheduled: int) -> None:
        event = self._event(EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)
        event.activity_task_failed_event_attributes.scheduled_event_id = scheduled

    def signal(self, name: str) -> None:
        event = self._event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)
        event.workflow_execution_signaled_event_attributes.signal_name = name

    def completed(self) -> list[HistoryEvent]:
        """The events, with the run's end."""
        self._event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
        return self.events
