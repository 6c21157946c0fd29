"""What executions of a run have done, as a later one can be given it. Pure: it takes events with opened payloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from holdfast.engine.children import MAP_WORKFLOW
from holdfast.engine.compensation import UNDOABLE
from holdfast.engine.dag.nodes import NODE
from holdfast.engine.data.values import is_object
from holdfast.engine.failures import NOTHING_DONE
from holdfast.engine.given import ARGUMENTS, GIVEN_MEMO, Entry, Given, digest, plain_id, relative
from holdfast.engine.history.done_payloads import (
    UNDO_PART,
    envelope,
    first,
    is_partial,
    json_of,
    type_of,
    undoing_part,
)
from holdfast.engine.history.facts import COMPENSATION_PREFIX
from holdfast.engine.history.local import read_marker
from holdfast.engine.payloads import NULL
from holdfast.engine.reuse import NOT_GIVEN, child_digest
from holdfast.engine.runtime import CARRY_MEMO
from holdfast.engine.start_memo import SPEC_MEMO

_CHECKPOINT: Final = "holdfast.checkpoint"
CLOSED_CHILD: Final = frozenset(
    {
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED,
    }
)


@dataclass(kw_only=True)
class Child:
    """An execution that a run started as its child."""

    run_id: str
    execution_id: str = ""
    is_open: bool = True


@dataclass(kw_only=True)
class Message:
    """A message that came to a run."""

    name: str
    payload: Payload
    after: int
    """How many calls the run had made by then."""


@dataclass(kw_only=True)
class Done:
    """What the executions of one run have done.

    Args:
        run_id: The run's.
    """

    run_id: str
    restart: str = ""
    """What the ids of all its calls end in, if it was started again; see `spec_memo`."""
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    """By key, in the order of their first calls; then those whose keys other calls have taken since, see `_keep`."""
    begun_after: dict[str, int] = field(default_factory=dict[str, int])
    """How many calls had been made before each of them."""
    undone: set[str] = field(default_factory=set[str])
    undo_begun: set[str] = field(default_factory=set[str])
    """Ids of compensations, whether or not they came to an end."""
    messages: list[Message] = field(default_factory=list[Message])
    seen: dict[str, None] = field(default_factory=dict[str, None])
    """Ids of messages."""
    children: dict[str, Child] = field(default_factory=dict[str, Child])
    """By the keys of their entries: those that this run itself started."""
    completed: int = 0
    """How many calls have completed so far."""
    _calls: int = 0

    def start_with(self, memo: Mapping[str, Any]) -> None:
        """Take over what the first of the executions was given itself.

        Args:
            memo: Its memo at the start, decoded.
        """
        spec, given = memo.get(SPEC_MEMO), memo.get(GIVEN_MEMO)
        self.restart = spec.get("restart") or "" if is_object(spec) else ""
        if is_object(given):
            before = Given.of_json(given)
            for entry in before.entries:
                self.entries[entry.key if entry.key not in self.entries else _beside(entry)] = entry
                self.completed = max(self.completed, entry.done_at)
            self.undone.update(before.undone)
        carried = memo.get(CARRY_MEMO)
        inbox = carried.get("inbox") if is_object(carried) else None
        if is_object(inbox):
            self.seen.update(dict.fromkeys(inbox.get("seen", [])))
            self.messages += [
                Message(name=name, payload=Payload.FromString(bytes.fromhex(text)), after=0)
                for name, texts in inbox.get("messages", {}).items()
                for text in texts
            ]

    def read(self, events: Iterable[HistoryEvent], execution_id: str) -> None:
        """Add what one execution did. They are read in their order."""
        _Reader(self, execution_id).read(events)

    def begin(self, entry: Entry) -> Entry:
        """A call is made, for the first time or anew."""
        self.begun_after.setdefault(entry.key, self._calls)
        self._calls += 1
        self._keep(entry)
        self.entries.pop(_beside(entry), None)  # it has its key back
        self.entries[entry.key] = entry
        return entry

    def _keep(self, entry: Entry) -> None:
        """Keep what ran under a key that another call has now: that call went by a number which was given to one
        with other arguments, and what that one did is still done."""
        old = self.entries.get(entry.key)
        if old is None or old.undone:
            return
        # In a fork the ids of the other run's calls are used anew: of what is open there, nothing is known here.
        kept = old.result is not None if old.foreign else old.ran_as != entry.ran_as
        if kept:
            self.entries[_beside(old)] = old

    def complete(self, entry: Entry, result: Payload) -> None:
        """A call has completed."""
        self.completed += 1
        entry.result, entry.open, entry.done_at = result, False, self.completed

    def ran_as(self, call_id: str) -> Entry | None:
        """The call of this run that ran under an id."""
        key = plain_id(call_id)
        return self._at(key, call_id)

    def _at(self, key: str, ran_as: str) -> Entry | None:
        found = (self.entries.get(place) for place in (key, f"{key}~{ran_as}"))
        return next(
            (one for one in found if one is not None and one.ran_as == ran_as and not one.foreign), None
        )

    def undone_by(self, undo: str) -> Entry | None:
        """The call that a compensation undoes, by the activity id or the relative run id of that.

        A child is undone by an activity, `compensate:label`, or by a run, `:label:undo`; both end in what the ids of
        its calls end in, unless that is so in all of its parent.
        """
        if undo.startswith(COMPENSATION_PREFIX):
            call_id = undo.removeprefix(COMPENSATION_PREFIX)
            if (entry := self.ran_as(call_id)) is not None:
                return entry
            key = f":{plain_id(call_id)}"
        else:
            key = plain_id(plain_id(undo).removesuffix(":undo"))
        mark = undo.rpartition("@")[2] if "@" in undo else ""
        for ran_as in dict.fromkeys((mark, self.restart)):
            if (entry := self._at(key, ran_as)) is not None and entry.child:
                return entry
        return None

    def is_undone(self, given: Entry) -> bool:
        """Whether an entry that some execution was given has been undone since."""
        now = self._at(given.key, given.ran_as)
        return now is not None and now.undone

    def uncertain(self) -> list[str]:
        """Completed calls whose compensation has begun, and nobody knows whether it did anything."""
        found = (self.undone_by(undo) for undo in sorted(self.undo_begun - self.undone))
        return [entry.key for entry in found if entry is not None and entry.result is not None]

    def message(self, name: str, payloads: Payloads) -> None:
        """A message came, unless it is one that came before."""
        args = payloads.payloads
        message_id = envelope(args[1]) if len(args) > 1 else None
        if message_id is not None:
            if message_id in self.seen:
                return
            self.seen[message_id] = None
        self.messages.append(Message(name=name, payload=args[0] if args else NULL, after=self._calls))


def _beside(entry: Entry) -> str:
    return f"{entry.key}~{entry.ran_as}{'~' if entry.foreign else ''}"


class _Reader:
    def __init__(self, done: Done, execution_id: str) -> None:
        self._done, self._execution = done, execution_id
        self._steps: dict[int, Entry] = {}
        self._attempts: dict[int, int] = {}
        self._undoing: dict[int, str] = {}
        self._children: dict[int, Entry] = {}
        self._undoing_children: dict[int, str] = {}

    def read(self, events: Iterable[HistoryEvent]) -> None:
        for event in events:
            match event.event_type:
                case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                    self._scheduled(event)
                case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                    started_step = event.activity_task_started_event_attributes
                    self._attempts[started_step.scheduled_event_id] = started_step.attempt
                case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                    self._completed(event)
                case EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                    self._failed(event)
                case EventType.EVENT_TYPE_MARKER_RECORDED:
                    self._marker(event)
                case EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
                    self._child(event)
                case EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
                    started = event.child_workflow_execution_started_event_attributes
                    if entry := self._children.get(started.initiated_event_id):
                        self._done.children[entry.key].execution_id = started.workflow_execution.run_id
                case kind if kind in CLOSED_CHILD:
                    self._child_closed(event)
                case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
                    signal = event.workflow_execution_signaled_event_attributes
                    if not signal.signal_name.startswith(("holdfast.", "__temporal")):
                        self._done.message(signal.signal_name, signal.input)
                case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                    update = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
                    if len(update.args.payloads) == 2 and envelope(update.args.payloads[1]) is not None:
                        self._done.message(update.name, update.args)
                case _:
                    pass

    def _scheduled(self, event: HistoryEvent) -> None:
        asked = event.activity_task_scheduled_event_attributes
        name, call_id = asked.activity_type.name, asked.activity_id
        if name == _CHECKPOINT or name in NOT_GIVEN:
            return
        if call_id.startswith(COMPENSATION_PREFIX):
            self._undoing[event.event_id] = call_id
            self._done.undo_begun.add(call_id)
            return
        undoable = UNDOABLE in asked.header.fields
        self._steps[event.event_id] = self._done.begin(
            Entry(
                key=plain_id(call_id),
                name=name,
                digest=digest(asked.input.payloads),
                ran_as=call_id,
                execution=self._execution,
                undoable=undoable,
                # What undoes a node has a config of its own.
                arguments=list(asked.input.payloads) if undoable and not name.startswith(NODE) else [],
                open=undoable,
            )
        )

    def _completed(self, event: HistoryEvent) -> None:
        completed = event.activity_task_completed_event_attributes
        if entry := self._steps.get(completed.scheduled_event_id):
            self._done.complete(entry, first(completed.result))
        elif undo := self._undoing.get(completed.scheduled_event_id):
            self._undone(undo)

    def _failed(self, event: HistoryEvent) -> None:
        failed = event.activity_task_failed_event_attributes
        entry = self._steps.get(failed.scheduled_event_id)
        application = failed.failure.application_failure_info
        if (
            entry is None
            or not application.non_retryable
            or self._attempts.get(failed.scheduled_event_id) != 1
        ):
            return
        details = [json_of(payload) for payload in application.details.payloads]
        if any(is_object(detail) and detail.get(NOTHING_DONE) for detail in details):
            entry.open = False

    def _undone(self, undo: str) -> None:
        # A child with an id of its own is found by `undone` when its node comes to it.
        self._done.undone.add(undo)
        entry = self._done.undone_by(undo)
        if entry is not None:
            entry.result, entry.undone, entry.open = None, True, False

    def _marker(self, event: HistoryEvent) -> None:
        attributes = event.marker_recorded_event_attributes
        marker = read_marker(attributes)
        if marker is None or marker.name in NOT_GIVEN:
            return
        entry = self._done.begin(
            Entry(
                key=plain_id(marker.activity_id),
                name=type_of(attributes.details["data"]) or marker.name,
                digest=None,
                ran_as=marker.activity_id,
                execution=self._execution,
            )
        )
        if marker.backoff is not None or attributes.HasField("failure") or "result" not in attributes.details:
            return
        result = first(attributes.details["result"])
        noted = result.metadata.get(ARGUMENTS)
        if (
            noted is not None
        ):  # a step of an older worker runs again: nobody knows with which arguments it ran
            entry.digest = noted.decode()
            self._done.complete(entry, result)

    def _child(self, event: HistoryEvent) -> None:
        asked = event.start_child_workflow_execution_initiated_event_attributes
        key, name = relative(asked.workflow_id, self._done.run_id), asked.workflow_type.name
        payloads = list(asked.input.payloads)
        if name == MAP_WORKFLOW and payloads and payloads[0].data == UNDO_PART:
            self._undoing_children[event.event_id] = key
            self._done.undo_begun.add(key)
            return
        spec = json_of(asked.memo.fields[SPEC_MEMO]) if SPEC_MEMO in asked.memo.fields else None
        key = plain_id(key)
        self._children[event.event_id] = self._done.begin(
            Entry(
                key=key,
                name=name,
                digest=child_digest(name, payloads),
                ran_as=spec.get("restart", "") if is_object(spec) else "",
                child=True,
                execution=self._execution,
                **undoing_part(name, payloads),
            )
        )
        self._done.children[key] = Child(run_id=asked.workflow_id)

    def _child_closed(self, event: HistoryEvent) -> None:
        closed = getattr(event, event.WhichOneof("attributes") or "")
        initiated: int = closed.initiated_event_id
        completed = event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED
        if entry := self._children.get(initiated):
            self._done.children[entry.key].is_open = False
            result = first(closed.result) if completed else None
            if result is not None and not (entry.name == MAP_WORKFLOW and is_partial(result)):
                self._done.complete(entry, result)
        elif completed and (undo := self._undoing_children.get(initiated)):
            self._undone(undo)
