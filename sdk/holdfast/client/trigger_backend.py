"""Where triggers are: timed ones at the Temporal server, those of events and webhooks in the database."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from temporalio.client import (
    ScheduleAlreadyRunningError,
    ScheduleHandle,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from holdfast.checks import check_name, check_text
from holdfast.client.start import unavailable
from holdfast.client.trigger_delivery import Listener
from holdfast.client.trigger_info import TriggeredRun, TriggerInfo
from holdfast.client.trigger_schedule import (
    OWNER_MEMO,
    info_of,
    make_schedule,
    run_prefix,
    schedule_policy,
    schedule_spec,
)
from holdfast.client.trigger_target import Target, digest, encoded
from holdfast.engine.start_memo import TRIGGER_MEMO
from holdfast.errors import Conflict, InvalidInput, NotFound
from holdfast.settings import load
from holdfast.triggers.declared import On, Policy, kind_of
from holdfast.triggers.events import OnEvent, OnWebhook, listening_from

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.client.run import Run
    from holdfast.store.triggers import StoredTrigger

T = TypeVar("T")

_AT_A_TIME: Final = 16
_PAGE: Final = 1000
_SHOWN: Final = 5
_ID_CHARS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A trigger as somebody wants it."""

    name: str
    on: On
    policy: Policy
    target: Target
    owner: str | None
    """`module:workflow` of the code that declares it."""


class Backend:
    """Reads and writes the triggers of one client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def handle(self, name: str) -> ScheduleHandle:
        """The schedule of a timed trigger.

        Raises:
            InvalidInput: No schedule can have that name.
        """
        if len(check_name("name", name)) > _ID_CHARS:
            raise InvalidInput(f"{name[:100]!r} is no name of a trigger")
        return self._client.temporal.get_schedule_handle(name)

    async def call(self, name: str, work: Awaitable[T]) -> T:
        """Wait for an answer of the server.

        Raises:
            NotFound: There is no such trigger.
            Unavailable: The server does not answer.
        """
        try:
            return await work
        except RPCError as exc:
            if exc.status == RPCStatusCode.NOT_FOUND:
                raise _not_found(name) from exc
            raise unavailable(exc) from exc

    async def schedule(self, name: str) -> TriggerInfo | None:
        """The timed trigger of that name, if there is one."""
        try:
            return await info_of(await self.call(name, self.handle(name).describe()))
        except NotFound:
            return None

    async def is_timed(self, name: str) -> bool:
        """Whether it goes by time; `False` also for one that does not exist."""
        return await self.schedule(name) is not None

    async def find(self, name: str) -> TriggerInfo:
        """A trigger of any kind.

        Raises:
            NotFound: There is none.
            Unavailable: The server or the database does not answer.
        """
        found = await self.schedule(name)
        return found or info_of_stored(await self.stored(name), await self._last_runs(name))

    async def page(self, limit: int, after: str | None) -> list[TriggerInfo]:
        """Triggers by name. The server lists schedules in no order: all names are read, and those of the page looked
        at."""
        gate = asyncio.Semaphore(_AT_A_TIME)
        stored = {one.name: one for one in await self.all_stored()}

        async def one(name: str) -> TriggerInfo | None:
            if name in stored:
                return info_of_stored(stored[name], ())
            async with gate:
                return await self.schedule(name)  # none, where it was deleted since it was listed

        names = sorted({name async for name, _ in self.listed()} | stored.keys())
        chosen = [name for name in names if after is None or name > after][:limit]
        return [found for found in await asyncio.gather(*map(one, chosen)) if found]

    async def listed(self) -> AsyncIterator[tuple[str, str | None]]:
        """The names and owners of timed triggers."""
        try:
            async for entry in await self._client.temporal.list_schedules(page_size=_PAGE):
                yield entry.id, await entry.memo_value(OWNER_MEMO, default=None)
        except RPCError as exc:
            raise unavailable(exc) from exc

    async def owned(self) -> dict[str, str]:
        """Who declares a trigger, by the names of all that are declared by code."""
        found = {name: owner async for name, owner in self.listed() if owner}
        return found | {one.name: one.owner for one in await self.all_stored() if one.owner}

    async def find_stored(self, name: str) -> StoredTrigger | None:
        """The trigger of an event or a webhook of that name, if there is one."""
        if not self._has_database:
            return None
        from holdfast.store.triggers import find_trigger

        return await self._client.store.call(find_trigger, name)

    async def stored(self, name: str) -> StoredTrigger:
        """The same.

        Raises:
            NotFound: There is none.
        """
        found = await self.find_stored(name)
        if found is None:
            raise _not_found(name)
        return found

    async def all_stored(self) -> list[StoredTrigger]:
        """All triggers of events and webhooks."""
        if not self._has_database:
            return []
        from holdfast.store.triggers import list_triggers

        return await self._client.store.call(list_triggers)

    @property
    def _has_database(self) -> bool:
        """Whether there may be triggers in a database: none is made to look for them."""
        if self._client.in_memory or importlib.util.find_spec("sqlalchemy") is None:
            return False
        from holdfast.store.database import FILE_NAME

        settings = load(self._client.home)
        return bool(settings.database_url) or (settings.home / FILE_NAME).exists()

    async def content_hash(self, wanted: Wanted) -> str:
        """Tells whether a trigger is what it was declared to be."""
        listens = isinstance(wanted.on, OnEvent | OnWebhook)
        payloads = [] if listens else await encoded(self._client.data, wanted.target)
        sent = [raw.payload.data.hex() for raw in payloads]
        return digest(repr(wanted.on), repr(wanted.policy), wanted.target.facts(), sent)

    async def put(self, wanted: Wanted, state: ScheduleState, *, replace: bool) -> None:
        """Make or replace a trigger; one that is replaced stays paused if it was.

        Raises:
            Conflict: There is one of that name.
            InvalidInput, Unavailable: As `Triggers.create`.
        """
        check_text("note", state.note)
        content_hash = await self.content_hash(wanted)
        if isinstance(wanted.on, OnEvent | OnWebhook):
            await self._put_stored(wanted, wanted.on, content_hash, state, replace=replace)
        else:
            await self._put_schedule(wanted, content_hash, state, replace=replace)

    async def _put_schedule(
        self, wanted: Wanted, content_hash: str, state: ScheduleState, *, replace: bool
    ) -> None:
        client, name = self._client, wanted.name
        assert not isinstance(wanted.on, OnEvent | OnWebhook)
        if await self.find_stored(name) is not None:
            raise Conflict(f"trigger {name!r} exists already, and does not go by time: delete it first")
        schedule = make_schedule(
            name,
            wanted.on,
            wanted.policy,
            wanted.target,
            await encoded(client.data, wanted.target),
            stored=client.data.stored,
            searchable=client.searchable,
            content_hash=content_hash,
            state=state,
        )

        async def change(found: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule.state = found.description.schedule.state
            return ScheduleUpdate(schedule)

        try:
            await client.temporal.create_schedule(name, schedule, memo={OWNER_MEMO: wanted.owner or ""})
        except ScheduleAlreadyRunningError as exc:
            if not replace:
                raise _conflict(name) from exc
            await self.call(name, self.handle(name).update(change))
        except RPCError as exc:
            raise unavailable(exc) from exc

    async def _put_stored(
        self,
        wanted: Wanted,
        on: OnEvent | OnWebhook,
        content_hash: str,
        state: ScheduleState,
        *,
        replace: bool,
    ) -> None:
        if await self.is_timed(wanted.name):
            raise Conflict(f"trigger {wanted.name!r} exists already, and goes by time: delete it first")
        from holdfast.store.triggers import put_trigger

        await self._client.store.call(
            put_trigger,
            wanted.name,
            condition=on.to_dict(),
            target=wanted.target.facts(),
            content_hash=content_hash,
            owner=wanted.owner,
            replace=replace,
            paused=state.paused,
            note=state.note,
        )

    async def update(self, name: str, on: On | None, policy: Policy | None) -> None:
        """Change when or how a trigger starts its runs.

        Raises:
            InvalidInput: It cannot be changed so.
        """
        before = await self.schedule(name)
        if before is None:
            await self._update_stored(await self.stored(name), on, policy)
            return
        if isinstance(on, OnEvent | OnWebhook):
            raise _other_kind(name, before.kind)

        async def change(found: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule = found.description.schedule
            if on is not None:
                schedule.spec = schedule_spec(on)
            if policy is not None:
                schedule.policy = schedule_policy(policy)
            action: Any = schedule.action
            if action.memo and TRIGGER_MEMO in action.memo:
                # Without the hash, `sync` sees that it is not what was declared.
                action.memo = {**action.memo, TRIGGER_MEMO: {"name": name, "depth": 0}}
            return ScheduleUpdate(schedule)

        await self.call(name, self.handle(name).update(change))

    async def _update_stored(self, before: StoredTrigger, on: On | None, policy: Policy | None) -> None:
        if policy is not None or on is None:
            raise InvalidInput(f"trigger {before.name!r} is one of kind {before.kind}, which has no policy")
        if not isinstance(on, OnEvent | OnWebhook) or kind_of(on) != before.kind:
            raise _other_kind(before.name, before.kind)
        from holdfast.store.triggers import put_trigger

        await self._client.store.call(
            put_trigger,
            before.name,
            condition=on.to_dict(),
            target=before.target,
            content_hash="",
            owner=before.owner,
            replace=True,
        )

    async def set_paused(self, name: str, paused: bool, note: str | None) -> None:
        """Pause a trigger, or let it go on."""
        if await self.is_timed(name):
            handle = self.handle(name)
            change = handle.pause(note=note) if paused else handle.unpause(note=note)
            await self.call(name, change)
            return
        await self.stored(name)
        from holdfast.store.triggers import set_paused

        await self._client.store.call(set_paused, name, paused=paused, note=note)

    async def delete(self, name: str) -> None:
        """Delete a trigger."""
        if await self.is_timed(name):
            await self.call(name, self.handle(name).delete())
            return
        await self.stored(name)
        from holdfast.store.triggers import delete_trigger

        await self._client.store.call(delete_trigger, name)

    async def deliver(self, listener: Listener, values: Mapping[str, object], identity: str) -> Run[Any]:
        """Start the run for a message, or find the one that was started for it."""
        client = self._client
        await listener.start(
            client.temporal, client.data, values, identity=identity, depth=0, searchable=client.searchable
        )
        return client.get(listener.run_id(identity))

    async def _last_runs(self, name: str) -> list[TriggeredRun]:
        """The last runs of a trigger that Temporal does not know of."""
        found: list[TriggeredRun] = []
        query = f'WorkflowId STARTS_WITH "{run_prefix(name)}"'
        try:
            async for run in self._client.temporal.list_workflows(query):
                # The name of another trigger may begin with this one.
                known: dict[str, Any] = (await run.memo()).get(TRIGGER_MEMO) or {}
                if known.get("name") == name:
                    found.append(TriggeredRun(run_id=run.id, execution_id=run.run_id, started=run.start_time))
                if len(found) == _SHOWN:
                    break
        except RPCError as exc:
            raise unavailable(exc) from exc
        return found


def info_of_stored(stored: StoredTrigger, last: Sequence[TriggeredRun]) -> TriggerInfo:
    """What is told of a trigger of an event or a webhook."""
    return TriggerInfo(
        name=stored.name,
        kind=stored.kind,
        on=str(listening_from(stored.condition)),
        workflow=stored.target["called"],
        version=stored.target["version"],
        queue=stored.target["queue"],
        paused=stored.paused,
        note=stored.note,
        owner=stored.owner,
        created=stored.created,
        updated=stored.updated,
        last=last,
        content_hash=stored.content_hash,
    )


def _not_found(name: str) -> NotFound:
    return NotFound(f"there is no trigger {name!r}")


def _other_kind(name: str, kind: str) -> InvalidInput:
    return InvalidInput(f"trigger {name!r} is one of kind {kind}; delete it and make another")


def _conflict(name: str) -> Conflict:
    return Conflict(f"trigger {name!r} exists already; change it with update, or give if_exists='replace'")
