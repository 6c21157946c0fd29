"""What the server knows of a run, beside what the ledger says that its steps did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from temporalio.api.history.v1 import HistoryEvent

from holdfast import Client

from .conftest import until
from .ledger import Entry, Ledger


async def until_ended(ledger: Ledger, count: int, step: str = "") -> None:
    """Wait until so many attempts have ended well; without reading every line of a long ledger again and again."""
    wanted = f'"step": "{step}"'.encode() if step else b'"event": "end"'

    def enough() -> bool:
        lines = ledger.path.read_bytes().splitlines() if ledger.path.exists() else []
        return sum(b'"event": "end"' in line and wanted in line for line in lines) >= count

    await until(enough, 300)


async def executions(client: Client, run_id: str) -> list[Sequence[HistoryEvent]]:
    """The histories of a run's executions, the first one first."""
    found: list[Sequence[HistoryEvent]] = []
    execution_id: str | None = None
    while execution_id != "":
        handle = client.temporal.get_workflow_handle(run_id, run_id=execution_id)
        events = list((await handle.fetch_history()).events)
        found.insert(0, events)
        execution_id = events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return found


def acknowledged(events: Iterable[HistoryEvent]) -> dict[str, int]:
    """By the id of each call that the server knows to be complete, which attempt it was."""
    calls: dict[int, str] = {}
    attempts: dict[int, int] = {}
    found: dict[str, int] = {}
    for event in events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            calls[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
        elif event.HasField("activity_task_started_event_attributes"):
            started = event.activity_task_started_event_attributes
            attempts[started.scheduled_event_id] = started.attempt
        elif event.HasField("activity_task_completed_event_attributes"):
            completed = event.activity_task_completed_event_attributes.scheduled_event_id
            found[calls[completed]] = attempts[completed]
    return found


def told_in(events: Iterable[HistoryEvent]) -> dict[str, int]:
    """By the id of each complete call, which workflow task told the run of it, counted from 0."""
    calls: dict[int, str] = {}
    tasks = 0
    found: dict[str, int] = {}
    for event in events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            calls[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
        elif event.HasField("workflow_task_completed_event_attributes"):
            tasks += 1
        elif event.HasField("activity_task_completed_event_attributes"):
            found[calls[event.activity_task_completed_event_attributes.scheduled_event_id]] = tasks
    return found


def begun_again(starts: Iterable[Entry], complete: dict[str, int]) -> list[str]:
    """The calls that began again although the server had been told that they were complete.

    Args:
        starts: Of attempts, whose labels are the ids of calls.
        complete: What `acknowledged` found.
    """
    times = Counter((entry.label, entry.attempt) for entry in starts)
    return [
        f"{label} began {count} times as attempt {attempt}; complete since attempt {complete.get(label)}"
        for (label, attempt), count in times.items()
        if count > 1 or attempt > complete.get(label, attempt)
    ]
