"""Reading what a run has done from the server: all executions of its chain, and those of its children."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ContinueAsNewInitiator
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from holdfast.engine.given import GIVEN_MEMO, ORIGIN_MEMO, REUSED_MEMO, Entry, Given, Kind, positions
from holdfast.engine.history.done import Child, Done
from holdfast.engine.history.done_payloads import payloads_of
from holdfast.engine.history.fetch import describe_execution
from holdfast.engine.runtime import CARRY_MEMO
from holdfast.engine.start_memo import SPEC_MEMO
from holdfast.errors import InvalidInput, NotFound, Unavailable

_CHUNK = 200


@dataclass(kw_only=True)
class Earlier:
    """A run as it has come so far.

    Attributes:
        run_id: The run's.
        execution_id: Of its latest execution.
        start: The event that began the first one.
        is_open: Whether it has not ended.
        done: What it has done.
        within: What its children have done that did not complete, by the keys of their entries.
        left: What the latest execution was given itself and did not come to, completed calls only.
    """

    run_id: str
    execution_id: str
    start: HistoryEvent
    is_open: bool
    done: Done
    within: dict[str, Earlier]
    left: list[Entry] = field(default_factory=list[Entry])

    def uncertain(self) -> list[str]:
        """Completed calls whose compensation has begun, and nobody knows whether it did anything; `child/charge-1` of
        a child."""
        found = self.done.uncertain()
        for place, child in self.within.items():
            found += [f"{place.removeprefix(':')}/{call}" for call in child.uncertain()]
        return found

    def open_children(self) -> list[str]:
        """The ids of the child runs that have not ended, those of children included."""
        found = [child.run_id for child in self.within.values() if child.is_open]
        return found + [run_id for child in self.within.values() for run_id in child.open_children()]

    def memo(self, kind: Kind, mark: str, *, by: str = "", reason: str = "") -> dict[str, Any]:
        """What a run is given that goes on from here, as its memo."""
        for place, entry in self.done.entries.items():
            if (child := self.within.get(place)) is not None:
                entry.inner = child.memo(kind, mark)
            elif entry.inner is not None:
                entry.inner = _given_on(entry.inner, kind, mark)
        entries = list(self.done.entries.values())
        given = Given(kind=kind, mark=mark, entries=entries, undone=frozenset(self.done.undone))
        origin = {"kind": kind, "run": self.run_id, "execution": self.execution_id, "mark": mark}
        notes = {name: text for name, text in (("by", by), ("reason", reason)) if text}
        memo: dict[str, Any] = {GIVEN_MEMO: given.to_json(), ORIGIN_MEMO: {**origin, **notes}}
        if self.done.messages:
            messages: dict[str, list[str]] = {}
            for message in self.done.messages:
                messages.setdefault(message.name, []).append(message.payload.SerializeToString().hex())
            memo[CARRY_MEMO] = {"inbox": {"messages": messages, "seen": list(self.done.seen)}}
        return memo


def _given_on(memo: Mapping[str, Any], kind: Kind, mark: str) -> dict[str, Any]:
    """What a child run would have been given that the last execution did not come to, as it is given to the next."""
    given = Given.of_json(memo[GIVEN_MEMO])
    given.entries = [
        replace(entry, inner=_given_on(entry.inner, kind, mark)) if entry.inner is not None else entry
        for entry in given.entries
    ]
    onward = replace(given, kind=kind, mark=mark)
    return {
        **memo,
        GIVEN_MEMO: onward.to_json(),
        ORIGIN_MEMO: {**memo[ORIGIN_MEMO], "kind": kind, "mark": mark},
    }


def new_mark() -> str:
    """What tells the calls of one execution from those of all others."""
    return uuid.uuid4().hex[:8]


async def read_earlier(client: Client, run_id: str) -> Earlier:
    """What a run has done so far.

    Raises:
        NotFound: There is no such run, or its beginning is past its retention.
        Unavailable: The server does not answer, or a payload cannot be read here.
    """
    latest = (await describe_execution(client, run_id)).workflow_execution_info.execution.run_id
    # Backwards: where an execution was reset, the one before it names as its next the one that the reset left.
    chain = {latest: await _events(client, run_id, latest)}
    while True:
        start = next(iter(chain.values()))[0].workflow_execution_started_event_attributes
        before = start.continued_execution_run_id
        if start.cron_schedule or not before:
            return await _read(client, run_id, list(chain), chain)
        chain = {before: await _events(client, run_id, before), **chain}


async def _read(
    client: Client, run_id: str, executions: list[str], known: Mapping[str, Sequence[HistoryEvent]]
) -> Earlier:
    """What some executions have done: those, and the ones that the last of them names as next."""
    done = Done(run_id=run_id)
    start: HistoryEvent | None = None
    latest, is_open, given, taken = executions[0], True, None, set[int]()
    left = deque(executions)
    while left:
        execution_id = left.popleft()
        events = known.get(execution_id) or await _events(client, run_id, execution_id)
        await _open(client, [payload for event in events for payload in payloads_of(event)])
        memo = await _memo(client, events[0])
        given, taken = memo.get(GIVEN_MEMO), await _taken(client, events)
        if start is None:
            start = events[0]
            done.start_with(memo)
        elif _forgot(events[0], memo):
            raise InvalidInput(
                f"run {run_id!r} continued itself with Temporal's own continue_as_new, which counts its steps from 1 "
                "again: what it has done cannot be told apart. Use `holdfast.continue_as_new`."
            )
        done.read(events, execution_id)
        latest = execution_id
        ended = getattr(events[-1], events[-1].WhichOneof("attributes") or "", None)
        is_open = not (events[-1].WhichOneof("attributes") or "").startswith(_ENDS)
        if not left and (following := getattr(ended, "new_execution_run_id", None)):
            left.append(following)
    assert start is not None
    within: dict[str, Earlier] = {}
    for key, child in done.children.items():
        if _is_unfinished(done.entries.get(key)) and (found := await _child(client, child)):
            within[key] = found
    return Earlier(
        run_id=run_id,
        execution_id=latest,
        start=start,
        is_open=is_open,
        done=done,
        within=within,
        left=[] if is_open or given is None else _left(done, Given.of_json(given), taken),
    )


def _forgot(start: HistoryEvent, memo: Mapping[str, Any]) -> bool:
    """Whether an execution continues another one without what that carried over."""
    started = start.workflow_execution_started_event_attributes
    by_code = started.initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_WORKFLOW
    return by_code and "ordinals" not in (memo.get(CARRY_MEMO) or {})


async def _taken(client: Client, events: Sequence[HistoryEvent]) -> set[int]:
    """The positions of what an execution took of that which it was given, as its notes say."""
    notes = [
        fields[REUSED_MEMO]
        for event in events
        if REUSED_MEMO in (fields := event.workflow_properties_modified_event_attributes.upserted_memo.fields)
    ]
    decoded = await _decoded(client, notes) if notes else []
    return {place for note in decoded for place in positions(note["given"])}


def _left(done: Done, given: Given, taken: Collection[int]) -> list[Entry]:
    return [
        entry
        for place, entry in enumerate(given.entries)
        if place not in taken and entry.result is not None and not done.is_undone(entry)
    ]


_ENDS = (
    "workflow_execution_completed",
    "workflow_execution_failed",
    "workflow_execution_canceled",
    "workflow_execution_terminated",
    "workflow_execution_timed_out",
    "workflow_execution_continued_as_new",
)


def _is_unfinished(entry: Entry | None) -> bool:
    return entry is not None and entry.child and entry.result is None and not entry.undone


async def _child(client: Client, child: Child) -> Earlier | None:
    if not child.execution_id:
        return None  # it was asked for and never started
    try:
        return await _read(client, child.run_id, [child.execution_id], {})
    except NotFound:
        return None  # past its retention: it runs again as a whole


async def _events(client: Client, run_id: str, execution_id: str) -> Sequence[HistoryEvent]:
    try:
        return (await client.get_workflow_handle(run_id, run_id=execution_id).fetch_history()).events
    except RPCError as exc:
        if exc.status is RPCStatusCode.NOT_FOUND:
            raise NotFound(
                f"the beginning of run {run_id!r} is past its retention: what it has done is not known any more"
            ) from exc
        raise Unavailable(f"the Temporal server does not answer: {exc.message}") from exc


async def _open(client: Client, payloads: Sequence[Payload]) -> None:
    """Replace payloads by what a codec and the storage have for them."""
    for start in range(0, len(payloads), _CHUNK):
        chunk = payloads[start : start + _CHUNK]
        for payload, opened in zip(chunk, await _decoded(client, chunk, RawValue), strict=True):
            payload.CopyFrom(opened.payload)


async def _memo(client: Client, start: HistoryEvent) -> dict[str, Any]:
    fields = start.workflow_execution_started_event_attributes.memo.fields
    found = {key: fields[key] for key in (GIVEN_MEMO, CARRY_MEMO, SPEC_MEMO) if key in fields}
    return dict(zip(found, await _decoded(client, list(found.values())), strict=True)) if found else {}


async def _decoded(client: Client, payloads: Sequence[Payload], hint: type | None = None) -> list[Any]:
    try:
        return await client.data_converter.decode(payloads, [hint] * len(payloads) if hint else None)
    except Exception as exc:  # storage and codec are user code
        raise Unavailable(
            f"what the run has done cannot be read here, as its storage or its keys are missing: {exc}"
        ) from exc
