"""One step of an open run: tried at once, held, let go. All of it is Temporal's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    ResetActivityRequest,
    UnpauseActivityRequest,
)
from temporalio.service import RPCError, RPCStatusCode

from holdfast.client.start import unavailable
from holdfast.engine.dag.nodes import NODE
from holdfast.engine.given import plain_id
from holdfast.engine.history.fetch import describe_execution
from holdfast.errors import InvalidInput, NotFound, RunClosed, Unavailable

if TYPE_CHECKING:
    from holdfast.client.client import Client

What = Literal["retry", "pause", "resume"]


async def control(client: Client, run_id: str, step: str, what: What, *, by: str, reason: str) -> None:
    """Do one of these to a step that is open.

    Args:
        client: Where the run is.
        run_id: The run's id.
        step: As in `charge`, `charge#2`, `enrich[7]`.
        what: What to do.
        by: Who does it.
        reason: Why.

    Raises:
        NotFound: There is no such run, or it has no such open step.
        InvalidInput: The step is not in backoff, is paused already, or is not paused.
        RunClosed: The run has ended.
        Unavailable: The server does not answer, or is too old.
    """
    described = await describe_execution(client.temporal, run_id)
    info = described.workflow_execution_info
    if info.status != WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING:
        raise RunClosed(f"run {run_id!r} has ended; none of its steps is open")
    pending = {one.activity_id: one for one in described.pending_activities}
    activity_id = next((one for one in pending if _is_called(one, step)), None)
    if activity_id is None:
        names = ", ".join(sorted(pending)) or "none"
        raise NotFound(f"run {run_id!r} has no open step {step!r}; open are: {names}")
    found = pending[activity_id]
    name = found.activity_type.name.removeprefix(NODE)
    if what == "pause" and found.paused:
        raise InvalidInput(f"step {name!r} of run {run_id!r} is paused already")
    if what == "resume" and not found.paused:
        raise InvalidInput(f"step {name!r} of run {run_id!r} is not paused")
    if what == "retry" and (found.paused or not found.HasField("next_attempt_schedule_time")):
        state = "is paused: resume it" if found.paused else "does not wait for its next attempt"
        raise InvalidInput(f"step {name!r} of run {run_id!r} {state}")
    execution = WorkflowExecution(workflow_id=run_id, run_id=info.execution.run_id)
    common: dict[str, Any] = {
        "namespace": client.namespace,
        "id": activity_id,
        "identity": by or client.temporal.identity,
    }
    service = client.temporal.workflow_service
    try:
        match what:
            case "pause":
                await service.pause_activity(
                    PauseActivityRequest(execution=execution, reason=reason, **common)
                )
            case "resume":
                await service.unpause_activity(UnpauseActivityRequest(execution=execution, **common))
            case "retry":
                await service.reset_activity(ResetActivityRequest(execution=execution, **common))
    except RPCError as exc:
        if exc.status is RPCStatusCode.UNIMPLEMENTED:
            raise Unavailable(f"this Temporal server cannot {what} single steps: {exc.message}") from exc
        if exc.status is RPCStatusCode.NOT_FOUND:
            raise NotFound(f"step {name!r} of run {run_id!r} has just ended") from exc
        raise unavailable(exc) from exc


def _is_called(activity_id: str, wanted: str) -> bool:
    name, _, number = (part.strip() for part in wanted.partition("#"))
    number = number or "1"
    return plain_id(activity_id) in {f"{name}-{number}", *({name} if number == "1" else ())}
