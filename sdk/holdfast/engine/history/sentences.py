"""What a run waits for, in a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from holdfast.client.description import RunDescription, StepDescription, WaitDescription
from holdfast.engine.history.facts import Timeline
from holdfast.engine.history.payloads import Opened
from holdfast.engine.history.text import listing, moment, shortened
from holdfast.engine.history.times import later
from holdfast.states import RunState, StepState

LOCAL_STEPS_NOTE = (
    "Local steps run inside the workflow task: after a crash of the worker, those completed since its last report "
    "run again."
)

NOTHING = "waits for a signal or an update"
"""What is said of a run of which no event tells what it waits for."""

UNDER_A_LIMIT = "waits for its turn under a limit"
"""The end of a timer's summary, by which a step waits until there is a place for it."""

FOR_A_BREAKER = " waits for the circuit breaker "
"""In the summary of a timer by which a step waits until its service may be called again; the key follows."""


def waiting_for(run: RunDescription, line: Timeline, opened: Opened, now: datetime) -> str:
    """What an open run waits for.

    Args:
        run: The run, described but for this sentence.
        line: Its timeline.
        opened: The payloads that a codec had to open.
        now: The time of the description.
    """
    if run.stuck:
        return run.stuck
    if run.state is RunState.PAUSED:
        by, reason = f" by {run.paused_by}" if run.paused_by else "", run.pause_reason
        return f"paused{by}{f': {reason}' if reason else ''}"
    sentence = _pending(line, now) if run.state is RunState.PENDING else _open_work(run, line, opened)
    return f"{sentence} (cancel was requested)" if run.cancel_requested else sentence


def asks_to_decide(run: RunDescription, nodes: Sequence[str]) -> str:
    """What an open run of a DAG waits for where nodes have failed and somebody is to decide.

    Args:
        run: The run, described.
        nodes: The nodes.
    """
    named = ", ".join(map(repr, nodes[:3])) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
    how = f"holdfast runs update {run.id} retry_node '\"{nodes[0]}\"' (or skip_node)"
    asks = f"waits for somebody to retry or skip what failed, {named}: {how}"
    others = "" if run.waiting_for in (None, NOTHING) else f"{run.waiting_for}; "
    return f"{others}{asks}"


def _pending(line: Timeline, now: datetime) -> str:
    if line.start is not None and line.started is not None:
        begins = later(line.started, timedelta(seconds=line.start.first_workflow_task_backoff.seconds))
        if begins > now:
            return f"starts at {moment(begins)}"
    return "waits for a worker to take it up"


def _open_work(run: RunDescription, line: Timeline, opened: Opened) -> str:
    parts = [_wait(wait) for wait in run.waits]
    told = (opened.text(timer.summary) or "" for timer in line.timers.values())
    limited = [text for text in told if text.endswith(UNDER_A_LIMIT) or FOR_A_BREAKER in text]
    held = {text.removesuffix(UNDER_A_LIMIT).partition(FOR_A_BREAKER)[0].strip() for text in limited}
    parts += [f"step {shortened(text, 200)}" for text in limited]
    # What is due later says more than what runs.
    open_steps = [step for step in run.steps if not step.state.closed and step.activity_id not in held]
    parts += [_step(step) for step in sorted(open_steps, key=lambda step: step.state is StepState.RUNNING)]
    parts += [f"waits for child run {child!r}" for child in line.open_children.values()]
    if parts:
        return listing(parts)
    if line.open_task or line.task_failure or any(step.outcome is None for step in line.steps):
        return "a worker runs its workflow code"
    if line.timers:
        timer = min(line.timers.values(), key=lambda timer: timer.fires_at)
        summary = opened.text(timer.summary)
        what = f" ({shortened(summary, 80)})" if summary and summary != "sleep" else ""
        return f"sleeps until {moment(timer.fires_at)}{what}"
    return NOTHING


def _wait(wait: WaitDescription) -> str:
    what = f"approval {wait.prompt or wait.name!r}" if wait.kind == "approval" else f"message {wait.name!r}"
    if wait.kind == "approval" and wait.prompt:
        what = f"approval {shortened(wait.prompt, 120)!r}"
    return f"waits for {what}{f' until {moment(wait.deadline)}' if wait.deadline else ''}"


def _step(step: StepDescription) -> str:
    failed = f" after {shortened(str(step.last_failure), 200)}" if step.last_failure else ""
    attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
    match step.state:
        case StepState.RETRYING:
            at = f" at {moment(step.next_attempt_at)}" if step.next_attempt_at else ""
            return f"step {step.name} retries{at}{failed}"
        case StepState.WAITING:
            return f"step {step.name} is held by the server"
        case StepState.PENDING:
            return f"step {step.name} waits for a worker on queue {step.queue!r}"
        case _:
            since = f" since {moment(step.started)}" if step.started else ""
            return f"step {step.name} runs{since}{attempt}{failed}"
