"""A timeline and what the server says of open work, as a `RunDescription`. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import JsonValue
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import PendingActivityState, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from holdfast.client.description import ErrorInfo, RunDescription, StepDescription, WaitDescription
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.history.dag_facts import DagFacts
from holdfast.engine.history.facts import COMPENSATION_PREFIX, StepFacts, Timeline
from holdfast.engine.history.payloads import RUN_PREVIEW_BYTES, Opened
from holdfast.engine.history.reused import origin_of
from holdfast.engine.history.sentences import LOCAL_STEPS_NOTE, waiting_for
from holdfast.engine.history.timeline import read_events
from holdfast.engine.history.times import known
from holdfast.engine.start_memo import TRIGGER_MEMO
from holdfast.states import RunState, StepState

PAUSED_STATUS = WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED
EPOCH = datetime.fromtimestamp(0, UTC)
WAITS_MEMO = "holdfast.waits"
COMPENSATING_MEMO = "holdfast.compensating"
NOTHING_DONE = "nothing_done"
CARRY_MEMO = "holdfast.carry"


def build_description(
    events: Iterable[HistoryEvent],
    description: DescribeWorkflowExecutionResponse | None = None,
    opened: Opened | None = None,
    *,
    now: datetime | None = None,
    stuck: str | None = None,
    compensable: Collection[str] = (),
) -> RunDescription:
    """Describe a run by its recorded history.

    Args:
        events: The events of one execution, from the first on; any number of them.
        description: The server's answer to a describe request; without it, open steps have no attempts and no
            failures, since the history gets those when a step ends.
        opened: The payloads that a codec had to open.
        now: The time to compute open durations with; default: that of the last event.
        stuck: Why the run cannot go on, if it cannot.
        compensable: Names of steps that are known to have a compensation.
    """
    return describe_timeline(
        read_events(events),
        description or DescribeWorkflowExecutionResponse(),
        opened or Opened(),
        now=now,
        stuck=stuck,
        compensable=compensable,
    )


def describe_timeline(
    line: Timeline,
    description: DescribeWorkflowExecutionResponse,
    opened: Opened,
    *,
    now: datetime | None = None,
    stuck: str | None = None,
    compensable: Collection[str] = (),
) -> RunDescription:
    """As `build_description`, for events that were read already."""
    return _Builder(line, description, opened, now or line.latest or EPOCH, stuck).build(compensable)


class _Builder:
    def __init__(
        self,
        line: Timeline,
        description: DescribeWorkflowExecutionResponse,
        opened: Opened,
        now: datetime,
        stuck: str | None,
    ) -> None:
        self.line, self.opened, self.now = line, opened, now
        self.info = description.workflow_execution_info
        self.extended = description.workflow_extended_info
        self.stuck = stuck if line.end is None else None
        self.carried = _mapping(opened.json(line.memo.get(CARRY_MEMO)))
        self.pending = {pending.activity_id: pending for pending in description.pending_activities}

    def build(self, compensable: Collection[str]) -> RunDescription:
        line, info, opened = self.line, self.info, self.opened
        start = line.start or WorkflowExecutionStartedEventAttributes()
        steps, waits = self.steps(), self.waits()
        state = self.state(waits)
        workflow = info.type.name or start.workflow_type.name
        dag = DagFacts(line, opened) if workflow == DAG_WORKFLOW else None
        arguments = dag.inputs if dag is not None else start.input.payloads
        deployed = info.versioning_info.deployment_version.build_id
        paused_by, pause_reason = self.pause() if state is RunState.PAUSED else (None, None)
        run = RunDescription(
            id=info.execution.workflow_id or start.workflow_id,
            workflow=(dag and dag.name) or workflow,
            state=state,
            queue=info.task_queue or start.task_queue.name,
            execution_id=info.execution.run_id or start.original_execution_run_id,
            started=line.started,
            closed=line.closed,
            duration=(line.closed or self.now) - line.started if line.started else None,
            input=[opened.preview(payload, RUN_PREVIEW_BYTES) for payload in arguments],
            result=opened.preview(line.result, RUN_PREVIEW_BYTES) if line.result is not None else None,
            error=self.error(state),
            steps=steps,
            waits=waits,
            listens_to=dag.listens_to if dag is not None else None,
            stuck=self.stuck,
            paused_by=paused_by,
            pause_reason=pause_reason,
            cancel_requested=line.cancel_requested,
            pending_compensations=self.pending_compensations(steps, compensable, state),
            children=list(line.children.values()),
            parent=start.parent_workflow_execution.workflow_id or info.parent_execution.workflow_id or None,
            trigger=_text(_mapping(opened.json(line.memo.get(TRIGGER_MEMO))).get("name")),
            origin=origin_of(line, opened),
            attempt=max(start.attempt, 1),
            history_event_count=max(line.event_count, info.history_length),
            history_size_bytes=info.history_size_bytes,
            memo=self.values(line.memo),
            search_attributes=self.values(info.search_attributes.indexed_fields or line.search_attributes),
            build_id=deployed or line.build_id,
            local_steps_note=LOCAL_STEPS_NOTE if any(step.local for step in steps) else None,
        )
        return run if state.closed else replace(run, waiting_for=waiting_for(run, line, opened, self.now))

    def state(self, waits: Sequence[WaitDescription]) -> RunState:
        line = self.line
        if line.end is not None:
            timed_out = (
                line.failure is not None and line.failure.application_failure_info.type == "RunTimedOut"
            )
            return RunState.TIMED_OUT if timed_out else line.end
        if self.stuck:
            return RunState.STUCK
        open_steps = [step for step in line.steps if step.outcome is None]
        if self.opened.json(line.memo.get(COMPENSATING_MEMO)) is True or any(
            s.compensates for s in open_steps
        ):
            return RunState.COMPENSATING
        if self.paused():
            return RunState.PAUSED
        if not line.completed_tasks and not (line.start and line.start.continued_execution_run_id):
            return RunState.PENDING
        # A task that failed is tried again without an event of its own.
        busy = open_steps or line.open_children or line.open_task or line.task_failure
        return RunState.RUNNING if busy else RunState.WAITING

    # Pause

    def paused(self) -> bool:
        if self.line.paused_by_server is not None or self.info.status == PAUSED_STATUS:
            return True
        return holds(self.line.paused, self.carried.get("paused")) or holds(
            self.line.held, self.carried.get("held")
        )

    def pause(self) -> tuple[str | None, str | None]:
        """Who paused it, and why."""
        if self.line.paused_by_server is not None:
            by, reason = self.line.paused_by_server
            return by or None, reason or None
        if self.line.paused or self.line.held:
            note = _mapping(self.opened.json(self.line.pause if self.line.paused else self.line.hold))
            return _text(note.get("by")), _text(note.get("reason"))
        server = self.extended.pause_info
        return server.identity or None, server.reason or _text(
            self.carried.get("paused") or self.carried.get("held")
        )

    # Steps

    def steps(self) -> list[StepDescription]:
        undone = {step.compensates for step in self.line.steps if step.outcome is StepState.COMPLETED}
        calls: Counter[str] = Counter()
        found: list[StepDescription] = []
        for step in self.line.steps:
            if step.internal:
                continue
            calls[step.name] += 1
            found.append(self.step(step, calls[step.name], compensated=step.activity_id in undone))
        return found

    def step(self, step: StepFacts, call: int, *, compensated: bool) -> StepDescription:
        opened = self.opened
        pending = (
            self.pending.get(step.activity_id) if step.outcome is None and self.line.end is None else None
        )
        if pending is not None:
            _add_pending(step, pending)
        state = StepState.COMPENSATED if compensated else self.step_state(step, pending)
        running_to = step.closed or (self.now if state is StepState.RUNNING else None)
        return StepDescription(
            name=step.name,
            ordinal=_ordinal(step) or call,
            activity_id=step.activity_id,
            state=state,
            local=step.local,
            attempt=step.attempt,
            scheduled=step.scheduled,
            started=step.started,
            closed=step.closed,
            duration=running_to - step.started if running_to and step.started else None,
            error=opened.error(step.failure) if step.failure is not None else None,
            last_failure=opened.error(step.last_failure) if step.last_failure is not None else None,
            next_attempt_at=step.next_attempt_at if state is StepState.RETRYING else None,
            worker=step.worker,
            queue=step.queue,
            summary=opened.text(step.summary),
            input=[opened.preview(payload) for payload in step.input],
            result=opened.preview(step.result) if step.result is not None else None,
            compensates=step.compensates,
        )

    def step_state(self, step: StepFacts, pending: PendingActivityInfo | None) -> StepState:
        if step.outcome is not None:
            return step.outcome
        if self.line.end is not None:
            return StepState.CANCELLED  # The server drops what is open when a run ends.
        if step.local:
            return StepState.RETRYING
        match pending.state if pending is not None else None:
            case PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
                return StepState.RETRYING if step.last_failure is not None else StepState.PENDING
            case (
                PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED
                | PendingActivityState.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED
            ):
                return StepState.WAITING
            case None:
                return StepState.RUNNING if step.started else StepState.PENDING
            case _:
                return StepState.RUNNING

    def pending_compensations(
        self, steps: Sequence[StepDescription], compensable: Collection[str], state: RunState
    ) -> list[str]:
        if state is RunState.COMPLETED:
            return []
        undone = {step.compensates for step in steps if step.state is StepState.COMPLETED}
        known = [
            _text(_mapping(item).get("activity_id")) or ""
            for item in _sequence(self.carried.get("compensations"))
        ]
        ids = [known_id.removeprefix(COMPENSATION_PREFIX) for known_id in known]
        ids += [step.compensates for step in steps if step.compensates]
        facts = {step.activity_id: step for step in self.line.steps}
        ids += [
            step.activity_id
            for step in steps
            if (step.name in compensable or facts[step.activity_id].undoable)
            and not _had_no_effect(facts[step.activity_id], opened=self.opened)
        ]
        return [step_id for step_id in dict.fromkeys(ids) if step_id and step_id not in undone]

    # The rest

    def waits(self) -> list[WaitDescription]:
        if self.line.end is not None:
            return []
        items = map(_mapping, _sequence(self.opened.json(self.line.memo.get(WAITS_MEMO))))
        return [_wait(item) for item in items if item]

    def error(self, state: RunState) -> ErrorInfo | None:
        if self.line.failure is not None:
            return self.opened.error(self.line.failure)
        if state is RunState.TIMED_OUT:
            return ErrorInfo(type="TimeoutError", message="the run took longer than its timeout")
        if state is RunState.TERMINATED:
            return ErrorInfo(type="TerminatedError", message=self.line.end_reason or "")
        return None

    def values(self, fields: Mapping[str, Payload]) -> dict[str, JsonValue]:
        shown: dict[str, JsonValue] = {}
        for key, payload in sorted(fields.items()):
            preview = self.opened.preview(payload)
            value = preview.value if preview.complete else preview.text
            if value is not None and not key.startswith("holdfast."):
                shown[key] = value
        return shown


def holds(said: bool | None, carried: object) -> bool:
    """Whether something holds a run: by the last signal of this execution, or from before it."""
    return carried is not None if said is None else said


def _add_pending(step: StepFacts, pending: PendingActivityInfo) -> None:
    """What the server knows of an open step, and the history only when it ends."""
    step.attempt = max(pending.attempt, 1)
    step.started = known(pending.last_started_time)
    step.worker = pending.last_worker_identity or None
    step.next_attempt_at = known(pending.next_attempt_schedule_time)
    if pending.HasField("last_failure"):
        step.last_failure = pending.last_failure


def _ordinal(step: StepFacts) -> int | None:
    name, _, number = (step.compensates or step.activity_id).rpartition("-")
    base = step.name.removesuffix(".compensate") if step.compensates else step.name
    return int(number) if name == base and number.isdecimal() and len(number) < 10 else None


def _had_no_effect(step: StepFacts, *, opened: Opened) -> bool:
    if step.failure is None or step.attempt != 1:
        return False
    failure = step.failure.application_failure_info
    details = [_mapping(opened.json(payload)) for payload in failure.details.payloads]
    return failure.non_retryable and any(detail.get(NOTHING_DONE) for detail in details)


def _wait(item: Mapping[str, JsonValue]) -> WaitDescription:
    form = item.get("form")
    return WaitDescription(
        name=_text(item.get("name")) or "",
        kind="approval" if item.get("kind") == "approval" else "wait",
        prompt=_text(item.get("prompt")),
        form=form if isinstance(form, dict) else None,
        deadline=_time(item.get("deadline")),
        since=_time(item.get("since")),
    )


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _sequence(value: JsonValue) -> Sequence[JsonValue]:
    return value if isinstance(value, list) else []


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: JsonValue) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
