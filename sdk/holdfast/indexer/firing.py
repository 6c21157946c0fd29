"""Starts the runs of triggers that go by events, from what the store tells of runs and of what is published.

A run's id is made of the trigger and of what happened. So an event may be looked at by several indexers, or again after
a kill: it starts one run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast
from uuid import uuid4

from sqlalchemy import select
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from holdfast.client.connection import has_search_attributes
from holdfast.client.events import RUNS, Event, EventFilter
from holdfast.client.start import unavailable
from holdfast.client.trigger_delivery import Listener
from holdfast.client.trigger_target import MAX_DEPTH, digest
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.data.step_data import StepData
from holdfast.engine.start_memo import TRIGGER_MEMO
from holdfast.errors import EventsLost, HoldfastError, InvalidInput, TryAgain, Unavailable
from holdfast.store.database import Database, shared_now
from holdfast.store.dead_letters import add
from holdfast.store.events import read_page, subscribe, subscribed
from holdfast.store.schema import leases
from holdfast.store.triggers import list_triggers, note_lost_events
from holdfast.store.upsert import upsert
from holdfast.triggers.events import OnEvent, input_of

log = logging.getLogger("holdfast.triggers")

POLL: Final = timedelta(seconds=0.5)
TERM: Final = timedelta(seconds=5)
"""How long after its last sign of life another one takes the place of who fires."""

SUBSCRIPTION: Final = "holdfast.triggers"
"""Under this name the store keeps how far the events were looked at."""

_LEASE: Final = "triggers"
_BACK_OFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
_MAX_PARENTS: Final = 20
_TOLD_BYTES: Final = 4000
_IDENTITY: Final = ("execution_id", "step", "ordinal", "attempt", "name", "payload")
"""What tells events of the same kind, run and time from each other."""


_NEEDS_RESULT: Final = re.compile(r"result|payload(?!\s*\.)")
"""Expressions that look at the result, or at all there is."""


class Firing:
    """Looks at events, one after the other.

    Args:
        client: Temporal's own client.
        database: The store.
    """

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._data = StepData(client.data_converter)
        self._searchable: bool | None = None
        self._holder = uuid4().hex
        self._listeners: dict[str, Listener] = {}

    async def run(self) -> None:
        """Fire until cancelled. Where Temporal or the database is away, it waits and tries again."""
        failures = 0
        while True:
            delay = POLL.total_seconds()
            try:
                wanted = bool(await self._all())
                if wanted and await asyncio.to_thread(self._hold):
                    await self.step()
                failures = 0
            except Exception as error:  # one that ends would be noticed by nobody
                if isinstance(error, HoldfastError | RPCError):
                    log.warning("triggers wait: %s", error)
                else:
                    log.exception("triggers wait")
                delay = _BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)]
                failures += 1
            await asyncio.sleep(delay)

    async def step(self) -> int:
        """Look at all events that are new.

        Returns:
            How many runs were started.

        Raises:
            Unavailable: Temporal or the database does not answer; what was begun is done again the next time.
        """
        started = 0
        while listeners := await self._all():
            known = await asyncio.to_thread(subscribed, self._database, SUBSCRIPTION)
            position = max(known or 0, min(one.stored.after for one in listeners))
            try:
                page = await asyncio.to_thread(read_page, self._database, _wanted(listeners), position)
            except EventsLost as lost:
                log.error("events were deleted before triggers saw them: %s", lost.message)
                until = lost.resume_after
                await asyncio.to_thread(note_lost_events, self._database, after=position, until=until)
                await asyncio.to_thread(subscribe, self._database, SUBSCRIPTION, until)
                continue
            if page.position != known and await self._changed(listeners):
                continue  # what changed while the page was read may want what the page left out
            for event in page.events:
                for listener in listeners:
                    if _concerns(listener, event):
                        started += await self._fire(listener, event)
            if page.position != known:
                await asyncio.to_thread(subscribe, self._database, SUBSCRIPTION, page.position)
            if not page.more:
                break
        return started

    async def _changed(self, listeners: Sequence[Listener]) -> bool:
        return [one.stored for one in await self._all()] != [one.stored for one in listeners]

    async def _all(self) -> Sequence[Listener]:
        """The triggers that are not paused. Those that have not changed are not read again."""
        stored = await asyncio.to_thread(list_triggers, self._database, kind="event")
        old, self._listeners = self._listeners, {}
        for one in stored:
            before = old.get(one.name)
            self._listeners[one.name] = before if before and before.stored == one else Listener(one)
        return [one for one in self._listeners.values() if not one.stored.paused]

    async def _fire(self, listener: Listener, event: Event) -> bool:
        identity = _identity(event)
        values: dict[str, Any] | None = None
        depth = 1
        judging = True
        try:
            known = {"payload": _payload(event), "event": _facts(event)}
            where, is_cut = listener.on.where or "", _has_cut_result(event)
            asks_result = is_cut and _NEEDS_RESULT.search(where)
            fetches = is_cut and _NEEDS_RESULT.search(f"{where} {listener.on.input}")
            values = None if fetches else known
            if not asks_result and not await asyncio.to_thread(listener.wants, known):
                return False
            if fetches:
                judging = False
                known["payload"]["result"] = await self._result(event)
                values = known
                judging = True
            if asks_result and not await asyncio.to_thread(listener.wants, known):
                return False
            judging = False
            depth = await self._depth(event) + 1
            if depth > MAX_DEPTH:
                raise InvalidInput(
                    f"{MAX_DEPTH} runs in a row were started by one another's events: make the condition of trigger "
                    f"{listener.stored.name!r} narrower, so that it is not met by what it starts"
                )
            return await listener.start(
                self._client,
                self._data,
                known,
                identity=identity,
                depth=depth,
                searchable=await self._has_attributes(),
            )
        except (TryAgain, RPCError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one trigger, the others go on
            # Of a condition that has no value there is one letter: each event that it was not made for has that.
            letter = f"where-{digest(listener.stored.condition)}" if judging else None
            await self._dead(listener, event, identity, error, values, depth, shared=letter)
            return False

    async def _dead(
        self,
        listener: Listener,
        event: Event,
        identity: str,
        error: Exception,
        values: Mapping[str, Any] | None,
        depth: int,
        *,
        shared: str | None,
    ) -> None:
        stored = listener.stored
        message = error.message if isinstance(error, HoldfastError) else str(error)
        log.warning(
            "trigger %r started nothing for %s of %s: %s", stored.name, event.kind, event.run_id, message
        )
        given = values["payload"] if values else None
        made = False
        if values is not None:
            with contextlib.suppress(HoldfastError):
                given = await asyncio.to_thread(input_of, listener.on, values)
                made = True
        if len(json.dumps(given, default=str)) > _TOLD_BYTES:
            given, made = None, False
        await asyncio.to_thread(
            add,
            self._database,
            kind="trigger",
            identity=f"trigger/{listener.run_id(shared or identity)}",
            error_type=type(error).__name__,
            error_message=message,
            workflow=stored.target["called"],
            payload={
                "trigger": stored.name,
                "event": _facts(event),
                "input": [given],
                "input_made": made,
                "depth": depth,
                "queue": stored.target["queue"],
                "run_id": listener.run_id(identity),
            },
            place=event.cursor if shared else None,
            failed=event.at,  # looked at again, what somebody has settled stays so
        )

    async def _depth(self, event: Event) -> int:
        """How many runs in a row were started by one another's events, up to the run that the event is of; children
        count as their parents."""
        run_id, execution_id = event.run_id, None
        for _ in range(_MAX_PARENTS):
            if run_id is None:
                break
            try:
                found = await self._client.get_workflow_handle(run_id, run_id=execution_id).describe()
            except RPCError as exc:
                if exc.status == RPCStatusCode.NOT_FOUND:
                    break
                raise unavailable(exc) from exc
            known: dict[str, Any] = (await found.memo()).get(TRIGGER_MEMO) or {}
            if known:
                return int(known.get("depth", 0))
            run_id, execution_id = found.parent_id, found.parent_run_id
        return 0

    async def _result(self, event: Event) -> Any:
        """A result of which only the beginning is kept."""
        if event.kind != "workflow.completed" or event.run_id is None:
            return None
        execution_id = event.payload.get("execution_id")
        handle = self._client.get_workflow_handle(event.run_id, run_id=execution_id, result_type=RawValue)
        try:
            raw: RawValue = await handle.result(follow_runs=False)
            where = f"The result of run {event.run_id!r}"
            return await self._data.decode(raw.payload, make_adapter(Any), where=where)
        except RPCError as exc:
            if exc.status == RPCStatusCode.NOT_FOUND:
                raise InvalidInput(
                    f"Temporal has deleted run {event.run_id!r}, whose result is needed"
                ) from exc
            raise unavailable(exc) from exc
        except WorkflowFailureError as exc:
            raise InvalidInput(f"run {event.run_id!r} has no result") from exc
        except Unavailable as exc:  # of the storage or a key; one value must not stop all triggers
            raise InvalidInput(f"the result of run {event.run_id!r} cannot be read: {exc.message}") from exc

    async def _has_attributes(self) -> bool:
        if self._searchable is None:
            self._searchable = await has_search_attributes(self._client)
        return self._searchable

    def _hold(self) -> bool:
        """Whether this one fires. That two do at a time does no harm: they start the same runs."""
        with self._database.write(lazy=True) as connection:
            now = shared_now(connection)
            row = connection.execute(select(leases).where(leases.c.name == _LEASE)).mappings().first()
            if row is not None and row["holder"] != self._holder and row["expires"] > now:
                return False
            term = row["term"] if row is not None else 0
            mine = {"name": _LEASE, "holder": self._holder, "expires": now + TERM, "term": term}
            upsert(connection, leases, [mine])
            return True


def _wanted(listeners: Sequence[Listener]) -> EventFilter:
    ons = _events(listeners)
    kinds = {"published" for on in ons if not on.of_runs}
    kinds |= {on.event for on in ons if "*" not in on.event}  # of channels: what runs emit under that name
    return EventFilter(kinds=sorted(kinds))


def _events(listeners: Sequence[Listener]) -> list[OnEvent]:
    return [one.on for one in listeners if isinstance(one.on, OnEvent)]


def _concerns(listener: Listener, event: Event) -> bool:
    on, stored = listener.on, listener.stored
    if not isinstance(on, OnEvent) or event.cursor is None or event.cursor <= stored.after:
        return False
    if event.channel == RUNS:  # told late, it may be of a time before the trigger
        return event.kind == on.event and event.at > stored.since
    return not on.of_runs and event.channel == on.event


def _facts(event: Event) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "channel": event.channel,
        "run_id": event.run_id,
        "at": event.at.isoformat(),
    }


def _of_run(event: Event) -> dict[str, Any] | None:
    """A copy of what an event of a run carries."""
    payload: object = event.payload
    return (
        dict(cast("dict[str, Any]", payload)) if event.channel == RUNS and isinstance(payload, dict) else None
    )


def _payload(event: Event) -> Any:
    """What the event carries, with values in place of what is kept of them."""
    payload = _of_run(event)
    if payload is None:
        return event.payload
    if (kept := payload.get("result")) is not None:
        payload["result"] = _whole(kept)
    if (given := payload.get("input")) is not None:
        payload["input"] = [_whole(one) for one in cast("list[dict[str, Any]]", given) if one]
    return payload


def _has_cut_result(event: Event) -> bool:
    """Whether only the beginning of the result is kept."""
    kept = (_of_run(event) or {}).get("result")
    return kept is not None and not kept["complete"]


def _whole(kept: Mapping[str, Any]) -> Any:
    """The value, if all of it is kept."""
    return json.loads(kept["text"]) if kept["complete"] else None


def _identity(event: Event) -> str:
    """Stable also where an event is told again under another cursor, as after its deletion."""
    payload = _of_run(event)
    if payload is not None:
        return digest(event.kind, event.run_id, event.at, [payload.get(name) for name in _IDENTITY])
    return digest(event.channel, event.cursor, event.at)
