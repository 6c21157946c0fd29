"""The state of a run at some event, as `build` has it, without going through all steps."""

from __future__ import annotations

from holdfast.engine.history.build import CARRY_MEMO, holds
from holdfast.engine.history.facts import Timeline
from holdfast.engine.history.payloads import Opened
from holdfast.states import RunState


def run_state(line: Timeline, opened: Opened, *, is_compensating: bool, has_open_steps: bool) -> RunState:
    """The state.

    Args:
        line: What the events say so far.
        opened: The payloads that a codec had to open.
        is_compensating: Whether it notes that it undoes its steps, or one of its open steps does.
        has_open_steps: Whether a step is open, Holdfast's own included.
    """
    if line.end is not None:
        timed_out = line.failure is not None and line.failure.application_failure_info.type == "RunTimedOut"
        return RunState.TIMED_OUT if timed_out else line.end
    if is_compensating:
        return RunState.COMPENSATING
    if is_paused(line, opened):
        return RunState.PAUSED
    if not line.completed_tasks and not (line.start and line.start.continued_execution_run_id):
        return RunState.PENDING
    # A task that failed is tried again without an event of its own.
    busy = has_open_steps or line.open_children or line.open_task or line.task_failure
    return RunState.RUNNING if busy else RunState.WAITING


def is_paused(line: Timeline, opened: Opened) -> bool:
    """Whether somebody holds it, as far as events say."""
    if line.paused_by_server is not None:
        return True
    found = opened.json(line.memo.get(CARRY_MEMO)) if line.paused is None or line.held is None else None
    carried = found if isinstance(found, dict) else {}
    return holds(line.paused, carried.get("paused")) or holds(line.held, carried.get("held"))
