"""`client.triggers`: all that starts runs by itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from temporalio.client import ScheduleBackfill, ScheduleState

from holdfast.client.actions import recorded
from holdfast.client.trigger_backend import Backend, Wanted
from holdfast.client.trigger_delivery import Listener
from holdfast.client.trigger_info import SyncReport, TriggerInfo
from holdfast.client.trigger_schedule import matching_times, overlap_policy
from holdfast.client.trigger_target import digest, target_of
from holdfast.errors import InvalidInput, NotFound, PayloadTooLarge
from holdfast.triggers.declared import On, Overlap, Policy, check_name, check_on
from holdfast.triggers.events import OnEvent, OnWebhook
from holdfast.triggers.webhooks import MAX_BODY_BYTES, verify

if TYPE_CHECKING:
    from holdfast.authoring.workflow import Workflow
    from holdfast.client.client import Client
    from holdfast.client.run import Run

MAX_BACKFILL: Final = 1000
"""How many runs a backfill starts at most, if nothing else is said."""


class Triggers:
    """`client.triggers`. Timed ones are Temporal's schedules; those of events and webhooks are kept beside the
    history.

    Who changed what and why is recorded: `by` is who (default: the user of this machine), `reason` why. See
    `client.runs.actions(subject="trigger nightly")`.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._backend = Backend(client)

    async def create(
        self,
        name: str,
        workflow: Callable[..., Awaitable[Any]] | str,
        /,
        *args: Any,
        on: On,
        policy: Policy | None = None,
        queue: str | None = None,
        timeout: timedelta | None = None,
        priority: int | None = None,
        paused: bool = False,
        note: str | None = None,
        if_exists: Literal["raise", "replace"] = "raise",
        by: str | None = None,
        reason: str = "",
    ) -> TriggerInfo:
        """Make a trigger. What it starts is fixed now: the options, the arguments, of a DAG the document and of a
        stored workflow the version.

        Args:
            name: By which it is found: 1 to 128 letters, digits and `._-`. Its runs are called `trigger-<name>-...`.
            workflow: A `@workflow` function, a `Dag`, or the name of a stored workflow.
            *args: Its arguments, for timed ones; checked before anything is sent.
            on: When: `Cron`, `Interval`, `Calendar`, `OnEvent` or `OnWebhook`.
            policy: How a timed one starts its runs. Default: `Policy()`.
            queue, timeout, priority: Of each run, as for `client.start`.
            paused: Whether it begins paused.
            note: What is shown beside it.
            if_exists: Whether one of this name is replaced; it stays paused if it was.
            by, reason: For the record of actions. Default: the user of this machine; the note.

        Raises:
            InvalidInput: The name, an argument or an option does not fit.
            Conflict: There is one of this name.
            NotFound: There is no stored workflow of that name.
            Unavailable: The server or the database does not answer.
        """
        check_name(name)
        check_on(on)
        listens = isinstance(on, OnEvent | OnWebhook)
        if listens and (args or policy is not None):
            raise InvalidInput(
                f"{type(on).__name__}(input=...) makes the run's input; arguments and policy are for times"
            )
        target = await target_of(
            self._client, workflow, args, queue=queue, timeout=timeout, priority=priority, listens=listens
        )
        wanted = Wanted(name=name, on=on, policy=policy or Policy(), target=target, owner=None)
        state = ScheduleState(note=note, paused=paused)
        replace = if_exists == "replace"
        async with self._recorded(
            "create", name, by, reason or note or "", workflow=target.called, on=str(on), replace=replace
        ):
            await self._backend.put(wanted, state, replace=replace)
        return await self.get(name)

    async def get(self, name: str) -> TriggerInfo:
        """A trigger with its last runs and next times; also a schedule that Holdfast did not make.

        Raises:
            NotFound: There is none.
            Unavailable: The server or the database does not answer.
        """
        return await self._backend.find(name)

    async def list(self, *, limit: int = 1000, after: str | None = None) -> list[TriggerInfo]:
        """Triggers by name, schedules that Holdfast did not make included. The server's list lags by a moment (about a
        second).

        Args:
            limit: At most so many; 1 or more.
            after: Only names after this one: the last name of the page before.

        Raises:
            InvalidInput: The limit is none.
            Unavailable: The server or the database does not answer.
        """
        if limit < 1:
            raise InvalidInput(f"limit={limit}: use 1 or more")
        return await self._backend.page(limit, after)

    async def update(
        self,
        name: str,
        *,
        on: On | None = None,
        policy: Policy | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> TriggerInfo:
        """Change when or how a trigger starts its runs; `create(..., if_exists="replace")` changes what it starts.

        One that code declares gets back what is declared at the next `sync`.

        Args:
            name: The trigger.
            on: When; timed ones stay timed, and others of their kind. Default: as it is.
            policy: How, of a timed one. Default: as it is.
            by, reason: For the record of actions.

        Raises:
            InvalidInput: It cannot be changed so.
            NotFound: There is none.
            Unavailable: The server or the database does not answer.
        """
        if on is None and policy is None:
            raise InvalidInput("say what changes: on= or policy=")
        if on is not None:
            check_on(on)
        facts = {"on": None if on is None else str(on), "policy": None if policy is None else str(policy)}
        changed = {key: value for key, value in facts.items() if value is not None}
        async with self._recorded("update", name, by, reason, **changed):
            await self._backend.update(name, on, policy)
        return await self.get(name)

    async def delete(self, name: str, *, by: str | None = None, reason: str = "") -> None:
        """Delete a trigger; its runs go on. One that code declares comes back at the next `sync`.

        Args:
            name: The trigger.
            by, reason: For the record of actions.

        Raises:
            NotFound: There is none.
            Unavailable: The server or the database does not answer.
        """
        async with self._recorded("delete", name, by, reason):
            await self._backend.delete(name)

    async def pause(self, name: str, note: str | None = None, *, by: str | None = None) -> None:
        """Let a trigger start nothing until `resume`. What comes meanwhile is left out.

        Args:
            name: The trigger.
            note: Why; shown beside it, and for the record of actions.
            by: Who does it. Default: the user of this machine.

        Raises:
            NotFound: There is none.
            Unavailable: The server or the database does not answer.
        """
        async with self._recorded("pause", name, by, note or ""):
            await self._backend.set_paused(name, True, note)

    async def resume(self, name: str, note: str | None = None, *, by: str | None = None) -> None:
        """Let a paused trigger go on, from now.

        Args:
            name: The trigger.
            note: Why; shown beside it, and for the record of actions.
            by: Who does it. Default: the user of this machine.

        Raises:
            NotFound: There is none.
            Unavailable: The server or the database does not answer.
        """
        async with self._recorded("resume", name, by, note or ""):
            await self._backend.set_paused(name, False, note)

    async def fire(
        self,
        name: str,
        payload: Any = None,
        *,
        overlap: Overlap | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> Run[Any] | None:
        """Start a run now, also of a trigger that is paused.

        Args:
            name: The trigger.
            payload: For events and webhooks: what stands for `payload`; the condition is not asked.
            overlap: For timed ones: in place of their own.
            by, reason: For the record of actions.

        Returns:
            The run; `None` for timed ones, where Temporal starts it a moment later, if the policy lets it.

        Raises:
            InvalidInput: The input that is made of the payload does not fit; the payload or overlap is not for its
                kind.
            NotFound: There is none.
            Unavailable: The server or the database does not answer.
        """
        if overlap is not None:
            Policy(overlap=overlap)  # it says which there are
        async with self._recorded("fire", name, by, reason) as facts:
            run = await self._fire(name, payload, overlap)
            facts |= {"run": run.id} if run is not None else {}
        return run

    async def _fire(self, name: str, payload: Any, overlap: Overlap | None) -> Run[Any] | None:
        if await self._backend.is_timed(name):
            if payload is not None:
                raise InvalidInput(
                    f"trigger {name!r} goes by time: its arguments were given when it was made"
                )
            chosen = overlap_policy(overlap) if overlap else None
            return await self._backend.call(name, self._backend.handle(name).trigger(overlap=chosen))
        listener = Listener(await self._backend.stored(name))
        if overlap is not None:
            raise InvalidInput(f"trigger {name!r} does not go by time: its runs are never left out")
        now = datetime.now(UTC).isoformat()
        event = {"kind": "fired", "channel": "", "run_id": None, "at": now, "id": ""}
        return await self._backend.deliver(
            listener, {"payload": payload, "event": event}, uuid.uuid4().hex[:24]
        )

    async def deliver(
        self, name: str, headers: Mapping[str, str], body: bytes, *, secret: str, now: datetime | None = None
    ) -> Run[Any] | None:
        """Take a message for a webhook trigger. The same message again answers with the same run.

        Args:
            name: The trigger.
            headers: Of the message.
            body: As it came.
            secret: The value of the secret that the trigger names.
            now: Default: the time here.

        Returns:
            The run; `None` if the trigger is paused or its condition does not hold.

        Raises:
            NotAllowed: The signature is wrong, or the message is too old.
            InvalidInput: The message is no JSON, or makes no input that fits.
            PayloadTooLarge: It is over 1 MiB.
            NotFound: There is no such trigger.
            Unavailable: The server or the database does not answer.
        """
        from holdfast.spec.strict_json import parse_json

        listener = Listener(await self._backend.stored(name))
        on = listener.on
        if not isinstance(on, OnWebhook):
            raise NotFound(f"trigger {name!r} is no webhook")
        if len(body) > MAX_BODY_BYTES:
            raise PayloadTooLarge(f"the message has {len(body)} bytes; at most {MAX_BODY_BYTES} are taken")
        delivery = verify(headers, body, secret, now or datetime.now(UTC), on.tolerance)
        if listener.stored.paused:
            return None
        event = {"kind": "webhook", "id": delivery.id, "at": delivery.at.isoformat()}
        values = {"payload": parse_json(body, max_bytes=MAX_BODY_BYTES), "event": event}
        if not await asyncio.to_thread(listener.wants, values):
            return None
        return await self._backend.deliver(listener, values, digest(delivery.id))

    async def times(
        self, name: str, start: datetime, end: datetime, *, limit: int = MAX_BACKFILL
    ) -> Sequence[datetime]:
        """The times of a timed trigger from `start` to `end`, both included, as the server computes them; no jitter.

        Args:
            name: The trigger.
            start, end: With a time zone.
            limit: At most so many, the first ones.

        Raises:
            InvalidInput: A time has no zone, or they are in the wrong order.
            NotFound: There is none that goes by time.
            Unavailable: The server does not answer.
        """
        for what, moment in (("start", start), ("end", end)):
            if moment.tzinfo is None:
                raise InvalidInput(f"{what}={moment!r}: give a datetime with a time zone, such as tzinfo=UTC")
        if end < start:
            raise InvalidInput(f"end={end.isoformat()} is before start={start.isoformat()}")
        if not await self._backend.is_timed(name):
            raise InvalidInput(f"trigger {name!r} does not go by time")

        async def collect() -> Sequence[datetime]:
            found = matching_times(self._client.temporal, name, start, end, limit)
            return [moment async for moment in found][:limit]

        return await self._backend.call(name, collect())

    async def backfill(
        self,
        name: str,
        start: datetime,
        end: datetime,
        *,
        overlap: Overlap = "allow_all",
        max_count: int = MAX_BACKFILL,
        by: str | None = None,
        reason: str = "",
    ) -> int:
        """Start the runs of times that have passed, as if they came now; `times` tells beforehand which. Times that
        have had their run get no other while Temporal knows that.

        Args:
            name: The trigger.
            start, end: Both are included; with a time zone.
            overlap: Whether they run beside each other. `buffer_all` starts one after the other.
            max_count: More than so many are refused.
            by, reason: For the record of actions.

        Returns:
            How many times there are.

        Raises:
            InvalidInput: There are more, or a time has no zone.
            NotFound: There is none that goes by time.
            Unavailable: The server does not answer.
        """
        count = len(await self.times(name, start, end, limit=max_count + 1))
        if count > max_count:
            raise InvalidInput(
                f"trigger {name!r} has more than {max_count} times from {start.isoformat()} to {end.isoformat()}: take "
                "a shorter time, or allow more with max_count="
            )
        if count:
            begin = start - timedelta(microseconds=1)  # the server leaves out the start
            asked = ScheduleBackfill(start_at=begin, end_at=end, overlap=overlap_policy(overlap))
            facts = {"start": start.isoformat(), "end": end.isoformat(), "overlap": overlap, "count": count}
            async with self._recorded("backfill", name, by, reason, **facts):
                await self._backend.call(name, self._backend.handle(name).backfill(asked))
        return count

    async def sync(
        self, workflows: Iterable[Workflow[..., Any]], *, prune: bool = False, by: str | None = None
    ) -> SyncReport:
        """Make the triggers that workflows declare, or change them to what is declared. Triggers that were made
        otherwise are left as they are. Safe to repeat, and in several processes at once.

        Args:
            workflows: With `triggers=` in their declaration.
            prune: Whether triggers are deleted that this code has declared once and declares no more: those of these
                workflows, and of workflows of the same modules.
            by: Who does it, for the record of actions: each trigger that is made, changed or deleted is in it.

        Raises:
            InvalidInput: A declared trigger cannot be.
            Unavailable: The server or the database does not answer.
        """
        from holdfast.client.trigger_sync import sync

        return await sync(self._client, list(workflows), prune=prune, by=by)

    async def register(self, workflows: Iterable[Workflow[..., Any]]) -> None:
        """`sync` for a worker that begins: what cannot be made is logged, and keeps no worker from serving.

        Args:
            workflows: What it serves.
        """
        from holdfast.client.trigger_sync import register

        await register(self._client, workflows)

    def _recorded(
        self, what: str, name: str, by: str | None, why: str, **facts: Any
    ) -> AbstractAsyncContextManager[dict[str, Any]]:
        return recorded(self._client, f"{what} trigger", subject=f"trigger {name}", why=why, by=by, **facts)
