"""After quiescence: do intents, effects, Temporal's histories and our own API tell the same, and is nothing lost?"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from itertools import pairwise
from pathlib import Path
from typing import Final

from sqlalchemy import select
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from holdfast import Client, RunState
from holdfast.store.database import Database
from holdfast.store.schema import runs
from holdfast.testing.replay import replay_report

from . import work
from .journal import Intent, Journal
from .scene import Fault
from .sink import Effect

AFTER_FAULT: Final = 15.0
"""Seconds after a fault in which what it hit may be done again: heartbeat timeout, time to notice, first delay."""

ALLOWED: Final = (
    "refused, as planned",
    "Completing activity as failed",
    "Connection refused",
    "connection error",
    "transport error",
    "Cannot report",
    "StepFailed",
    "poll",
    "is not registered on this worker",
)
"""What a traceback in a worker's log may be about."""

_TASK_STARTED = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED


@dataclass(kw_only=True)
class Call:
    """One call of a step, as its history has it."""

    run: str
    step: str
    attempts: int = 0
    """The number of the last attempt that began; 0 while none has."""

    scheduled: float = 0.0
    completed: float | None = None


@dataclass(kw_only=True)
class Verdict:
    """What was found."""

    violations: list[str] = field(default_factory=list[str])
    figures: dict[str, object] = field(default_factory=dict[str, object])

    def say(self, kind: str, what: str) -> None:
        """Something that must not be."""
        self.violations.append(f"{kind}: {what}")


class Judge:
    """Compares the records.

    Args:
        client: Of the home.
        journal: The intents.
        effects: What the outside noted.
        faults: What was injected.
        logs: Of all workers.
        losses: Times of which a disk has lost what it had said to keep.
    """

    def __init__(
        self,
        client: Client,
        journal: Journal,
        effects: Sequence[Effect],
        faults: Sequence[Fault],
        logs: Iterable[Path],
        losses: Sequence[tuple[float, float]] = (),
    ) -> None:
        self.client, self.journal, self.effects = client, journal, effects
        self.faults, self.logs, self.losses = faults, logs, losses
        self.verdict = Verdict()
        self.histories: dict[str, WorkflowHistory] = {}
        self.children: dict[str, WorkflowHistory] = {}

    async def judge(self, *, replayed: int | None = None) -> Verdict:
        """All of it.

        Args:
            replayed: How many histories are replayed, those of most events; None: all.
        """
        starts = self._starts()
        self.histories = await self._fetch(starts)
        self.children = await self._fetch({effect.run for effect in self.effects} - starts.keys())
        self._nothing_lost(starts)
        self._effects()
        self._void()
        self._said()
        await self._stored()
        await self._replay(replayed)
        return self.verdict

    def _starts(self) -> dict[str, list[Intent]]:
        starts: dict[str, list[Intent]] = defaultdict(list)
        for intent in self.journal.of("start"):
            starts[intent.run].append(intent)
        return starts

    async def _fetch(self, runs: Iterable[str]) -> dict[str, WorkflowHistory]:
        """What Temporal has of some runs; it may not know all of them."""
        gate = asyncio.Semaphore(8)
        found: dict[str, WorkflowHistory] = {}

        async def fetch(run: str) -> None:
            async with gate:
                try:
                    found[run] = await self.client.temporal.get_workflow_handle(run).fetch_history()
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise

        await asyncio.gather(*map(fetch, runs))
        return found

    def _nothing_lost(self, starts: dict[str, list[Intent]]) -> None:
        """Every acknowledged call is in a history, and every run has ended as it must."""
        ends: Counter[str] = Counter()
        lost = Counter[str]()
        cancelled = {intent.run for intent in self.journal.of("cancel")}
        for run, intents in starts.items():
            history = self.histories.get(run)
            if history is None:
                begun = [intent for intent in intents if intent.outcome == "acknowledged"]
                if not begun:
                    ends["never begun, as its start was not acknowledged"] += 1
                elif all(self._forgotten(intent.ended) for intent in begun):
                    lost["start"] += len(begun)
                else:
                    self.verdict.say("lost", f"{run} was acknowledged, and Temporal does not know it")
                continue
            kept = [intent for intent in intents if not self._forgotten(intent.ended)]
            if sum(intent.outcome == "acknowledged" for intent in kept) > 1:
                self.verdict.say("twice", f"{run}: two starts were acknowledged as first")
            end = _end(history.events[-1])
            ends[end] += 1
            wanted = {"failed"} if run.startswith("saga-") else {"completed"}
            if run in cancelled:
                wanted |= {"canceled"}
            if end not in wanted:
                self.verdict.say("end", f"{run} is {end}")
        for call in ("send", "decide", "cancel"):
            for intent in self.journal.of(call):
                if intent.outcome != "acknowledged" or self._came(intent):
                    continue
                if self._forgotten(intent.ended):
                    lost[call] += 1
                else:
                    self.verdict.say("lost", f"an acknowledged {call} to {intent.run} is not in its history")
        self._messages()
        self.verdict.figures["runs"] = dict(ends)
        if self.losses:
            self.verdict.figures["acknowledged, and lost with the disk"] = dict(lost)

    def _forgotten(self, at: float | None) -> bool:
        """Whether what happened then may be lost with a disk."""
        return at is not None and any(since <= at <= until for since, until in self.losses)

    def _came(self, intent: Intent) -> bool:
        kinds = {
            "cancel": [EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED],
        }.get(
            intent.call,
            [
                EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
                EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
            ],
        )
        history = self.histories.get(intent.run)
        return history is not None and any(event.event_type in kinds for event in history.events)

    def _messages(self) -> None:
        """A run that asked got each message once, in whichever order."""
        for run, history in self.histories.items():
            last = history.events[-1]
            if not run.startswith("asks-") or _end(last) != "completed":
                continue
            payloads = last.workflow_execution_completed_event_attributes.result.payloads
            result = self.client.temporal.data_converter.payload_converter.from_payloads(payloads)[0]
            if sorted(result) != sorted(["one", "between", "two", "yes"]):
                self.verdict.say("messages", f"{run} got {result}")

    def _effects(self) -> None:
        calls = {
            run: calls_of(run, history.events) for run, history in (self.histories | self.children).items()
        }
        starts: dict[tuple[str, str, str], list[Effect]] = defaultdict(list)
        work_of: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
        keys_of: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for effect in self.effects:
            piece = (effect.run, effect.step, effect.label)
            work_of[effect.key].add(piece)
            keys_of[piece].add(effect.key)
            if effect.phase == "start":
                starts[piece].append(effect)
        for key, pieces in work_of.items():
            if len(pieces) > 1:
                self.verdict.say("key", f"{key} stands for {sorted(pieces)}")
        extra = unexplained = 0
        for piece, begun in starts.items():
            if len(keys_of[piece]) > 1:
                self.verdict.say("key", f"{piece} gave several keys: {sorted(keys_of[piece])}")
            call = calls.get(piece[0], {}).get(begun[0].key)
            attempts = [effect.attempt for effect in begun if not self._forgotten(effect.at)]
            if call is None:
                if attempts:
                    self.verdict.say("effect", f"{piece} is in no history")
                continue
            if not call.attempts:
                pass  # the run ended while it was under way: its history does not count
            elif len(attempts) > call.attempts or len(set(attempts)) < len(attempts):
                self.verdict.say("attempts", f"{piece} began as {attempts}, its history has {call.attempts}")
            for before, after in pairwise(begun):
                extra += 1
                if not self._explained(before, after):
                    unexplained += 1
                    self.verdict.say("unexplained", f"{piece} began again {after.at - before.at:.1f} s later")
            late = [effect for effect in begun if call.completed and effect.at > call.completed]
            if late:
                self.verdict.say(
                    "done again", f"{piece} began {late[0].at - (call.completed or 0):.3f} s after its end"
                )
        self._completed_have_effects(calls, starts)
        self.verdict.figures |= {
            "effects": len(self.effects),
            "pieces of work": len(starts),
            "begun again": extra,
            "of those not explained by a fault": unexplained,
        }

    def _completed_have_effects(
        self, calls: dict[str, dict[str, Call]], starts: dict[tuple[str, str, str], list[Effect]]
    ) -> None:
        """What a history calls completed has happened outside."""
        seen = {effect.key for begun in starts.values() for effect in begun}
        for run, found in calls.items():
            for key, call in found.items():
                if call.completed is not None and call.step != "crash.refuse" and key not in seen:
                    self.verdict.say("phantom", f"{run}: {call.step} completed and had no effect")

    def _explained(self, before: Effect, after: Effect) -> bool:
        """Whether a fault hit between one attempt and the next, or shortly before. A clock explains nothing."""
        return any(
            fault.at < after.at and fault.until + AFTER_FAULT > before.at
            for fault in self.faults
            if not fault.kind.startswith("clock")
        )

    def _void(self) -> None:
        """A harness that hit nothing, or one in which nothing worked, shows nothing."""
        quiet = [
            intent
            for intent in self.journal.intents
            if not any(fault.at - 1 < intent.at < fault.until + 2 for fault in self.faults)
        ]
        good = sum(intent.outcome in ("acknowledged", "was done") for intent in quiet)
        if quiet and good < 0.8 * len(quiet):
            self.verdict.say("void", f"only {good} of {len(quiet)} calls outside faults succeeded")
        ended = {(effect.key, effect.attempt) for effect in self.effects if effect.phase == "end"}
        cut = [e for e in self.effects if e.phase == "start" and (e.key, e.attempt) not in ended]
        if any(fault.pid for fault in self.faults) and not cut:
            self.verdict.say("void", "no fault hit a step in flight")
        self.verdict.figures |= {
            "calls": len(self.journal.intents),
            "outside faults": f"{good} of {len(quiet)} succeeded",
            "outcome unknown": sum(i.outcome is None for i in self.journal.intents),
            "steps hit in flight": len(cut),
        }

    def _said(self) -> None:
        """Tracebacks that nobody expects."""
        for log in self.logs:
            text = log.read_text("utf-8", errors="replace")
            for found in re.finditer(
                r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*(.*)$", text, re.M
            ):
                around = text[max(0, found.start() - 400) : found.end()]
                if not any(word in around for word in ALLOWED):
                    self.verdict.say("traceback", f"{log.name}: {found.group(1)[:200]}")

    async def _stored(self) -> None:
        """The API and the store tell of each run what its history says."""
        for _ in range(120):  # the indexer may have been killed a moment ago
            lag = await self.client.runs.lag()
            if lag is not None and lag.total_seconds() < 3:
                break
            await asyncio.sleep(1)
        await asyncio.sleep(3)
        rows = await self.client.store.read(_rows)
        differing = 0
        for run, history in self.histories.items():
            stored = await self.client.runs.stored(run)
            if stored.state.value != _STATES[_end(history.events[-1])].value:
                differing += 1
                self.verdict.say(
                    "store", f"{run} is {_end(history.events[-1])}, stored as {stored.state.value}"
                )
            last = history.events[-1].event_time.ToDatetime(UTC)
            if stored.closed and abs((stored.closed - last).total_seconds()) > 1:
                self.verdict.say("store", f"{run} ended at {last}, stored as {stored.closed}")
            count, gap = rows.get(run, (0, None))
            if count != len(history.events) or gap:
                self.verdict.say(
                    "store", f"{run} has {len(history.events)} events, stored are {count} ({gap})"
                )
        for run in self._starts().keys() - self.histories.keys():
            if run in rows and not rows[run][1]:
                self.verdict.say("store", f"{run} is lost, and the store does not say so")
        listed = await self.client.analytics.summary()
        self.verdict.figures["in the store"] = f"{len(self.histories) - differing} of {len(self.histories)}"
        self.verdict.figures["summary"] = str(listed.to_dict().get("total"))

    async def _replay(self, count: int | None) -> None:
        """Today's code does in every history what was done."""
        chosen = sorted(self.histories.values(), key=lambda history: -len(history.events))[:count]
        # One of each shape's histories at a time would import the workflows as often.
        for replayed in await replay_report(chosen, [work], client=self.client):
            if replayed.difference is not None:
                self.verdict.say("replay", str(replayed))
        self.verdict.figures["replayed"] = len(chosen)


_STATES: Final = {
    "completed": RunState.COMPLETED,
    "failed": RunState.FAILED,
    "canceled": RunState.CANCELLED,
    "terminated": RunState.TERMINATED,
    "open": RunState.RUNNING,
    "continued": RunState.RUNNING,
    "timed out": RunState.TIMED_OUT,
}


def _rows(database: Database) -> dict[str, tuple[int, str | None]]:
    """Of each run in the store how many events it has, and what is missing."""
    with database.read() as connection:
        found = connection.execute(select(runs.c.id, runs.c.history_event_count, runs.c.gap))
        return {row.id: (row.history_event_count, row.gap) for row in found}


def _end(event: HistoryEvent) -> str:
    name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_WORKFLOW_EXECUTION_").lower()
    return {"timed_out": "timed out", "continued_as_new": "continued"}.get(
        name, name if name in _STATES else "open"
    )


def calls_of(run: str, events: Sequence[HistoryEvent]) -> dict[str, Call]:
    """The calls of steps in a history, by idempotency key."""
    found: dict[int, Call] = {}
    calls: dict[str, Call] = {}
    for event in events:
        at = event.event_time.ToDatetime(UTC).timestamp()
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            asked = event.activity_task_scheduled_event_attributes
            call = Call(run=run, step=asked.activity_type.name, scheduled=at)
            found[event.event_id] = calls[f"{run}/{asked.activity_id}"] = call
        elif event.event_type == _TASK_STARTED:
            started = event.activity_task_started_event_attributes
            found[started.scheduled_event_id].attempts = started.attempt
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            done = event.activity_task_completed_event_attributes
            found[done.scheduled_event_id].completed = at
    return calls
