"""Timed triggers as Temporal's schedules, there and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import Client as TemporalClient
from temporalio.client import (
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.common import Priority, RawValue, SearchAttributePair, TypedSearchAttributes

from holdfast.client.trigger_info import TriggeredRun, TriggerInfo
from holdfast.client.trigger_target import Target
from holdfast.engine.inbox import DAG, DAG_MEMO, PAUSED
from holdfast.engine.start_memo import TRIGGER_MEMO
from holdfast.triggers.declared import Overlap, Policy
from holdfast.triggers.timed import Cron, Interval, Timed

OWNER_MEMO: Final = "holdfast.owner"
"""In the memo of a schedule: the module and the workflow that declare it, empty if it was made by a call."""

_HASH: Final = "hash"
_SHOWN: Final = 5
_RUN: Final = "trigger-"
_FIELDS: Final = ("second", "minute", "hour", "day_of_month", "month", "year", "day_of_week")
_OVERLAPS: Final[Mapping[Overlap, ScheduleOverlapPolicy]] = {
    "skip": ScheduleOverlapPolicy.SKIP,
    "buffer_one": ScheduleOverlapPolicy.BUFFER_ONE,
    "buffer_all": ScheduleOverlapPolicy.BUFFER_ALL,
    "cancel_other": ScheduleOverlapPolicy.CANCEL_OTHER,
    "terminate_other": ScheduleOverlapPolicy.TERMINATE_OTHER,
    "allow_all": ScheduleOverlapPolicy.ALLOW_ALL,
}


def run_prefix(trigger: str) -> str:
    """What the ids of all runs of a trigger begin with."""
    return f"{_RUN}{trigger}-"


def overlap_policy(overlap: Overlap) -> ScheduleOverlapPolicy:
    """Temporal's policy of that name."""
    return _OVERLAPS[overlap]


def schedule_spec(on: Timed) -> ScheduleSpec:
    """When, as Temporal has it."""
    spec = ScheduleSpec(jitter=on.jitter, start_at=_utc(on.start), end_at=_utc(on.end))
    if isinstance(on, Interval):
        spec.intervals = [ScheduleIntervalSpec(every=on.every, offset=on.offset or None)]
        return spec
    spec.time_zone_name = on.timezone
    ranges = {
        field: [
            ScheduleRange(span.start, span.end, span.step) for span in on.calendar[field.replace("_", " ")]
        ]
        for field in _FIELDS
    }
    comment = on.expression if isinstance(on, Cron) else None
    spec.calendars = [ScheduleCalendarSpec(**ranges, comment=comment)]
    return spec


def schedule_policy(policy: Policy) -> SchedulePolicy:
    """How, as Temporal has it."""
    return SchedulePolicy(
        overlap=_OVERLAPS[policy.overlap],
        catchup_window=policy.catchup_window,
        pause_on_failure=policy.pause_on_failure,
    )


def make_schedule(
    name: str,
    on: Timed,
    policy: Policy,
    target: Target,
    payloads: Sequence[RawValue],
    *,
    stored: bool,
    searchable: bool,
    content_hash: str,
    state: ScheduleState,
) -> Schedule:
    """A schedule that starts runs as `client.start` does.

    Args:
        name: The trigger.
        on: When.
        policy: How.
        target: What.
        payloads: Its arguments.
        stored: Whether large payloads go to a storage.
        searchable: Whether the namespace has our search attributes.
        content_hash: Of all that was declared.
        state: Whether it is paused.
    """
    memo = target.memo(name, stored=stored)
    memo[TRIGGER_MEMO] = {**memo[TRIGGER_MEMO], _HASH: content_hash}
    attributes: list[SearchAttributePair[Any]] = [SearchAttributePair(PAUSED, False)] if searchable else []
    if target.dag is not None:
        memo[DAG_MEMO] = target.dag
        attributes += [SearchAttributePair(DAG, target.dag)] if searchable else []
    action = ScheduleActionStartWorkflow(
        target.workflow.name,
        args=list(payloads),
        id=f"{_RUN}{name}",
        task_queue=target.queue,
        task_timeout=target.workflow.task_timeout,
        memo=memo,
        typed_search_attributes=TypedSearchAttributes(attributes),
        priority=Priority(priority_key=target.priority) if target.priority is not None else Priority.default,
    )
    return Schedule(action=action, spec=schedule_spec(on), policy=schedule_policy(policy), state=state)


async def info_of(description: ScheduleDescription) -> TriggerInfo:
    """What is told of a schedule, also of one that Holdfast did not make."""
    schedule, info = description.schedule, description.info
    action = schedule.action
    memo = await _memo(description, action)
    owner = await description.memo_value(OWNER_MEMO, default=None)
    kind, on = _told(schedule.spec)
    last = [
        TriggeredRun(
            run_id=one.action.workflow_id,
            execution_id=one.action.first_execution_run_id,
            due=one.scheduled_at,
            started=one.started_at,
        )
        for one in reversed(info.recent_actions)
        if isinstance(one.action, ScheduleActionExecutionStartWorkflow)
    ]
    running = [
        one.workflow_id
        for one in info.running_actions
        if isinstance(one, ScheduleActionExecutionStartWorkflow)
    ]
    start = action if isinstance(action, ScheduleActionStartWorkflow) else None
    known: dict[str, Any] = memo.get(TRIGGER_MEMO) or {}
    return TriggerInfo(
        name=description.id,
        kind=kind,
        on=on,
        workflow=memo.get(DAG_MEMO) or (start.workflow if start else ""),
        queue=start.task_queue if start else "",
        paused=schedule.state.paused,
        note=schedule.state.note,
        owner=owner or None,
        policy=Policy(
            overlap=next(k for k, v in _OVERLAPS.items() if v == (schedule.policy.overlap or 1)),
            catchup_window=max(schedule.policy.catchup_window or timedelta(days=365), timedelta(seconds=10)),
            pause_on_failure=schedule.policy.pause_on_failure,
        ),
        created=info.created_at,
        updated=info.last_updated_at,
        fired_count=info.num_actions,
        missed_count=info.num_actions_missed_catchup_window,
        skipped_count=info.num_actions_skipped_overlap,
        running=running,
        last=last[:_SHOWN],
        next=list(info.next_action_times[:_SHOWN]),
        made_here=bool(known),
        content_hash=known.get(_HASH),
    )


async def _memo(description: ScheduleDescription, action: object) -> Mapping[str, Any]:
    if not isinstance(action, ScheduleActionStartWorkflow) or not action.memo:
        return {}
    wanted = {key: value for key, value in action.memo.items() if key in (DAG_MEMO, TRIGGER_MEMO)}
    found: dict[str, Any] = {}
    for key, payload in wanted.items():
        [found[key]] = await description.data_converter.decode([payload])
    return found


async def matching_times(
    temporal: TemporalClient, name: str, start: datetime, end: datetime, limit: int
) -> AsyncIterator[datetime]:
    """The times of a schedule from `start` to `end`, both included, as the server computes them: without jitter."""
    # The server leaves out the start, and gives a thousand at a time.
    after, last = start - timedelta(microseconds=1), end
    count = 0
    while count < limit:
        request = ListScheduleMatchingTimesRequest(namespace=temporal.namespace, schedule_id=name)
        request.start_time.FromDatetime(after.astimezone(UTC))
        request.end_time.FromDatetime(last.astimezone(UTC))
        page = (await temporal.workflow_service.list_schedule_matching_times(request, retry=True)).start_time
        for moment in page:
            after = moment.ToDatetime(UTC)
            count += 1
            yield after
        if not page or after >= last:
            return


def _told(spec: ScheduleSpec) -> tuple[str, str]:
    """The kind of a schedule, and its times in words."""
    zone = spec.time_zone_name or "UTC"
    if spec.intervals:
        one = spec.intervals[0]
        later = f", {one.offset} later" if one.offset else ""
        kind, words = "interval", f"every {one.every}{later}"
    elif spec.calendars:
        one_of = spec.calendars[0]
        kind = "cron" if one_of.comment else "calendar"
        words = f"{one_of.comment or _calendar(one_of)} {zone}"
    else:
        kind, words = "calendar", "never"
    more = len(spec.intervals) + len(spec.calendars) - 1
    return kind, f"{words} and {more} more" if more > 0 else words


def _calendar(spec: ScheduleCalendarSpec) -> str:
    fields = ("second", "minute", "hour", "day_of_month", "month", "day_of_week", "year")
    return " ".join(",".join(map(_range, getattr(spec, field))) or "*" for field in fields)


def _range(one: ScheduleRange) -> str:
    text = f"{one.start}-{one.end}" if one.end > one.start else str(one.start)
    return f"{text}/{one.step}" if one.step > 1 else text


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
