"""What Temporal's list of runs tells, and what it can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus

from holdfast.checks import check_literal
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.inbox import DAG, DAG_MEMO, PAUSED, WAITS_MEMO
from holdfast.errors import InvalidInput
from holdfast.states import RunState

_STATES = {
    WorkflowExecutionStatus.RUNNING: RunState.RUNNING,
    WorkflowExecutionStatus.COMPLETED: RunState.COMPLETED,
    WorkflowExecutionStatus.FAILED: RunState.FAILED,
    WorkflowExecutionStatus.CANCELED: RunState.CANCELLED,
    WorkflowExecutionStatus.TERMINATED: RunState.TERMINATED,
    WorkflowExecutionStatus.TIMED_OUT: RunState.TIMED_OUT,
}

_QUERIES = {
    RunState.COMPLETED: 'ExecutionStatus = "Completed"',
    RunState.FAILED: 'ExecutionStatus = "Failed"',
    RunState.CANCELLED: 'ExecutionStatus = "Canceled"',
    RunState.TERMINATED: 'ExecutionStatus = "Terminated"',
    RunState.TIMED_OUT: 'ExecutionStatus = "TimedOut"',
}


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One line of a list of runs."""

    id: str
    workflow: str
    """The name of the workflow, or of the DAG."""

    state: RunState
    """As the server's visibility knows it: an open run is `waiting` or `paused` where it says so of itself, else
    `running`; `describe` and the history say whether it sleeps, is stuck or compensates."""

    queue: str
    started: datetime
    closed: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "id": self.id,
            "workflow": self.workflow,
            "state": self.state.value,
            "queue": self.queue,
            "started": self.started.isoformat(),
            "closed": self.closed.isoformat() if self.closed else None,
        }


def query_of(
    state: RunState | str | None, open: bool | None, workflow: str | None, *, searchable: bool
) -> str:
    """What visibility is asked for.

    Raises:
        InvalidInput: It cannot be asked for that.
    """
    terms = ['ExecutionStatus != "ContinuedAsNew"']
    if open is not None:
        terms.append(f'ExecutionStatus {"=" if open else "!="} "Running"')
    if state is not None:
        try:
            terms.append(_QUERIES[RunState(state)])
        except (KeyError, ValueError):
            known = ", ".join(item.value for item in _QUERIES)
            raise InvalidInput(
                f"state={str(state)!r} is none that Temporal can tell: use one of {known}; open=True for all open "
                "runs; or the history, as search(RunFilter(states=[...]))"
            ) from None
    if workflow is not None:
        check_literal("workflow", workflow)
        # Where DAGs cannot be searched for by name, all of them are looked through.
        dag = f'{DAG.name} = "{workflow}"' if searchable else f'WorkflowType = "{DAG_WORKFLOW}"'
        terms.append(f'(WorkflowType = "{workflow}" OR {dag})')
    return " AND ".join(terms)


async def summary_of(execution: WorkflowExecution) -> RunSummary:
    """One line of the list."""
    state = _STATES[execution.status] if execution.status is not None else RunState.PENDING
    is_dag = execution.workflow_type == DAG_WORKFLOW
    memo: Mapping[str, Any] = await execution.memo() if is_dag or state is RunState.RUNNING else {}
    if state is RunState.RUNNING:
        if execution.typed_search_attributes.get(PAUSED):
            state = RunState.PAUSED
        elif memo.get(WAITS_MEMO):
            state = RunState.WAITING
    return RunSummary(
        id=execution.id,
        workflow=memo.get(DAG_MEMO, execution.workflow_type),
        state=state,
        queue=execution.task_queue,
        started=execution.start_time,
        closed=execution.close_time,
    )
