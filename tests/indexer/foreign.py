"""Feeds histories from files, of any SDK, to what the indexer reads and writes with.

`python -m tests.indexer.foreign FOLDER...` reads all histories in folders, JSON or bytes, and says which it
cannot read.
Public ones are in the repositories of Temporal's SDKs.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowHistory

from holdfast import Client
from holdfast.engine.history.graph import graph_of_events
from holdfast.indexer.reading import tell
from holdfast.spec.diagram import draw
from holdfast.store.database import Database
from holdfast.store.rows import IndexedRun
from holdfast.store.writer import write_runs

_ENDS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: (
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
    ),
}


def events_in(file: Path) -> Sequence[HistoryEvent]:
    """The events of a history in JSON, as any tool of Temporal writes it, or as bytes; none if it is none."""
    data = file.read_bytes()
    if file.suffix == ".json":
        try:
            return WorkflowHistory.from_json(file.name, data.decode("utf-8-sig")).events
        except Exception:  # noqa: BLE001 - some other file, or of fields that this version does not know
            return ()
    try:
        return History.FromString(data).events
    except Exception:  # noqa: BLE001 - some other file
        return ()


def described(name: str, events: Sequence[HistoryEvent]) -> DescribeWorkflowExecutionResponse:
    """What a server would say of the execution."""
    start, last = events[0], events[-1]
    attributes = start.workflow_execution_started_event_attributes
    ended = _ENDS.get(last.event_type)
    return DescribeWorkflowExecutionResponse(
        workflow_execution_info=WorkflowExecutionInfo(
            execution=WorkflowExecution(
                workflow_id=name, run_id=attributes.original_execution_run_id or name
            ),
            type=attributes.workflow_type,
            task_queue=attributes.task_queue.name,
            start_time=start.event_time,
            close_time=last.event_time if ended else None,
            status=ended or WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
            history_length=len(events),
            memo=attributes.memo,
            search_attributes=attributes.search_attributes,
        )
    )


async def read(client: Temporal, name: str, events: Sequence[HistoryEvent]) -> IndexedRun:
    """Read a history as the indexer does, and draw it."""
    run = await tell(client, described(name, events), events, datetime.now(UTC))
    for format in ("text", "mermaid", "svg"):
        draw(graph_of_events(events, description=run.run), format)
    return run


def _files(folders: Sequence[str]) -> list[Path]:
    return sorted(file for folder in folders for file in Path(folder).rglob("*") if file.is_file())


async def main(folders: Sequence[str]) -> int:
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(Path(folder) / "history.db")
        async with Client.embedded(None) as client:
            for file in _files(folders):
                events = events_in(file)
                if not events:
                    counts["no history"] += 1
                    print(f"no history: {file}")
                    continue
                try:
                    run = await read(client.temporal, str(file), events)
                    write_runs(database, [run])
                except Exception as error:  # noqa: BLE001 - what it is here for
                    counts["failed"] += 1
                    print(f"FAILED {file}: {type(error).__name__}: {error}")
                    continue
                counts["read"] += 1
                counts["events"] += len(events)
                states = Counter(step.state.value for step in run.run.steps)
                print(f"{run.run.state.value:10} {len(events):5} events {dict(states)} {file}")
        database.close()
    print(dict(counts))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
