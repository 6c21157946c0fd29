"""`client.events`: what happens to runs, and what is published, as it comes."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Concatenate, Final, Literal, ParamSpec, TypeVar, cast

from holdfast.client.actions import recorded
from holdfast.client.subscription import Place, check_subscription
from holdfast.errors import EventsLost, InvalidInput, PayloadTooLarge, Unavailable

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.client.subscription import Subscription
    from holdfast.store.database import Database
    from holdfast.store.push import Push

log = logging.getLogger("holdfast.events")

RUNS: Final = "runs"
"""The channel of what happens to runs. Nobody else may publish there."""

MESSAGE_BYTES: Final = 7500
"""The largest payload that is not stored: PostgreSQL carries 8,000 bytes, channel and time included."""

PAYLOAD_BYTES: Final = 256 * 1024
"""The largest payload that is stored."""

_CHANNEL_CHARS: Final = 100
_MAX_MESSAGES: Final = 1000
_DELAYS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened."""

    cursor: int | None
    """Its place: events of a database have rising cursors, with holes. `None` for a message that was not stored."""

    channel: str
    """`runs`, or what it was published to."""

    kind: str
    """Such as `step.failed`; `published` for what was published."""

    run_id: str | None
    at: datetime
    """When it happened, not when it was told."""

    payload: Any
    """JSON values: of runs `workflow`, `execution_id` and what belongs to the kind; else what was published."""

    @property
    def workflow(self) -> str | None:
        """The workflow, or the DAG, of the run."""
        payload = self.payload
        if self.channel != RUNS or not isinstance(payload, dict):
            return None
        return str(cast("dict[str, Any]", payload).get("workflow"))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "cursor": self.cursor,
            "channel": self.channel,
            "kind": self.kind,
            "run_id": self.run_id,
            "at": self.at.isoformat(),
            "payload": self.payload,
        }


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Which events. What is empty leaves all through."""

    kinds: Sequence[str] = ()
    runs: Sequence[str] = ()
    workflows: Sequence[str] = ()
    channels: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("kinds", "runs", "workflows", "channels"):
            given = getattr(self, name)
            if isinstance(given, str) or not all(isinstance(item, str) for item in given):
                raise InvalidInput(f"{name}={given!r}: give a list of texts")
        for kind in self.kinds:
            if "*" in kind[:-1]:
                raise InvalidInput(f"kind {kind!r}: `*` may stand only at its end, as in 'workflow.*'")

    @property
    def everything(self) -> bool:
        """Whether it leaves all through."""
        return not (self.kinds or self.runs or self.workflows or self.channels)

    @property
    def of_runs(self) -> bool:
        """Whether events of runs may be among them."""
        return not self.channels or RUNS in self.channels

    def fits(self, event: Event) -> bool:
        """Whether an event is one of them."""
        return (
            (not self.channels or event.channel in self.channels)
            and (not self.runs or event.run_id in self.runs)
            and (not self.workflows or event.workflow in self.workflows)
            and (not self.kinds or any(_matches(event.kind, kind) for kind in self.kinds))
        )


class Events:
    """`client.events`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._push: Push | None = None

    async def listen(
        self,
        *,
        kinds: Sequence[str] = (),
        runs: Sequence[str] = (),
        workflows: Sequence[str] = (),
        channels: Sequence[str] = (),
        after: int | None = None,
        subscription: str | None = None,
        if_lost: Literal["raise", "skip"] = "raise",
        follow: bool = True,
    ) -> AsyncGenerator[Event]:
        """The events that fit, as they come, for ever: `async for event in client.events.listen(): ...`.

        Stored events come at least once and in the order of their cursors. A reader may be as slow as it likes: what
        it has not taken stays in the database. Where the database is away, it is waited for. Messages that were
        published with `notify_only` come at best once, and only to those who listen at that time.

        Args:
            kinds: Such as `step.failed` or `workflow.*`. Default: all.
            runs: The ids of runs. Default: all.
            workflows: The names of workflows and DAGs, which leaves out what is published. Default: all.
            channels: `runs`, or what others publish to. Default: all.
            after: Go on after this `event.cursor`; 0 begins with the oldest that is kept. Default: what comes from the
                first step of the iteration on; to be sure that nothing of what you do before is left out, take
                `await client.events.cursor()` first.
            subscription: A name under which the database keeps how far this reader has come: up to the event before
                the last one taken, or all when it ends. It goes on from there; `after` counts only the first time. One
                reader at a time. Names that begin with `holdfast.` are Holdfast's own.
            if_lost: What to do when events have been deleted that were not taken: raise `EventsLost`, or go on behind
                them.
            follow: Whether to wait for what comes; otherwise the iteration ends with the newest event.

        Raises:
            EventsLost: Events after the cursor were deleted. Its `resume_after` is where to go on.
            InvalidInput: The filter is none.
            Unavailable, InvalidConfiguration: The database cannot be reached at first; events of runs are asked for
                and no indexer has read any.
        """
        wanted = EventFilter(kinds=kinds, runs=runs, workflows=workflows, channels=channels)
        if subscription is not None:
            check_subscription(subscription)
        if after is not None and after < 0:
            raise InvalidInput(f"after={after}: a cursor is 0 or more")
        from holdfast.store import events as store

        known = await self._call(wanted, store.subscribed, subscription) if subscription else None
        position = known if known is not None else after
        if position is None:
            position = await self._call(wanted, store.newest_cursor)
            if subscription:
                await self._call(wanted, store.subscribe, subscription, position)
        place = Place(self._client.store, subscription, position)
        begun = datetime.now(UTC)
        push = await self._pushed()
        messages: deque[Event] = deque(maxlen=_MAX_MESSAGES)
        with push.listening(messages.append, to_runs=follow and wanted.of_runs) as woken:
            try:
                failures = 0
                while True:
                    woken.clear()
                    try:
                        page = await self._call(wanted, store.read_page, wanted, position)
                        failures = 0
                    except EventsLost as error:
                        if if_lost == "raise":
                            raise
                        log.warning("events between %d and %d were lost", position, error.resume_after)
                        position = error.resume_after
                        continue
                    except Unavailable as error:
                        if place.first:
                            raise
                        if not failures:
                            log.warning("listening waits for the database: %s", error)
                        await asyncio.sleep(_DELAYS[min(failures, len(_DELAYS) - 1)])
                        failures += 1
                        continue
                    place.first = False
                    for event in page.events:
                        if event.cursor is None and event.at < begun:
                            continue  # a message to those who listened then
                        yield event
                        await place.taken(event.cursor)
                    position = page.position
                    await place.taken(position)
                    while messages:
                        if wanted.fits(message := messages.popleft()):
                            yield message
                    if not page.more and not follow:
                        return
                    if not page.more:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(woken.wait(), push.patience)
            finally:
                await place.keep()

    async def publish(self, channel: str, payload: Any = None, *, notify_only: bool = False) -> int | None:
        """Tell all who listen to a channel.

        Args:
            channel: Any name of up to 100 characters but `runs`.
            payload: Any JSON value, up to 256 KiB of JSON.
            notify_only: Do not store it: only those who listen now hear it, if all goes well. Up to 7,500 bytes of
                JSON.

        Returns:
            The event's cursor; `None` if it is not stored.

        Raises:
            InvalidInput: The channel or the payload cannot be.
            PayloadTooLarge: The payload is too large.
            Unavailable, InvalidConfiguration: The database cannot be reached.
        """
        _check(channel, payload, MESSAGE_BYTES if notify_only else PAYLOAD_BYTES, stored=not notify_only)
        from holdfast.store import events as store

        if notify_only:
            await self._client.store.call(store.pass_on, channel, payload)
            return None
        return await self._client.store.call(store.publish, channel, payload)

    async def list(
        self,
        *,
        kinds: Sequence[str] = (),
        runs: Sequence[str] = (),
        workflows: Sequence[str] = (),
        channels: Sequence[str] = (),
        before: int | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """The latest stored events, newest first.

        Args:
            kinds: As for `listen`, and so are the next three.
            runs: Their ids.
            workflows: Their names.
            channels: Their names.
            before: Only those with a lower cursor: the next page. Default: the newest.
            limit: How many, 1 to 1,000.

        Raises:
            InvalidInput: The filter or the limit cannot be.
            Unavailable, InvalidConfiguration: As `listen`.
        """
        if not 1 <= limit <= 1000:
            raise InvalidInput(f"limit={limit}: use 1 to 1000")
        wanted = EventFilter(kinds=kinds, runs=runs, workflows=workflows, channels=channels)
        from holdfast.store import events as store

        return await self._call(wanted, store.list_events, wanted, before=before, limit=limit)

    async def subscriptions(self) -> builtins.list[Subscription]:
        """All subscriptions by name, with the cursors that they have come to; those of Holdfast itself included.

        Raises:
            Unavailable, InvalidConfiguration: The database cannot be reached.
        """
        from holdfast.store import events as store

        return await self._client.store.call(store.list_subscriptions)

    async def unsubscribe(self, name: str, *, by: str | None = None, reason: str = "") -> None:
        """Forget a subscription. A reader that is at work makes it anew.

        Args:
            name: Its name.
            by: Who does it, for the record of actions. Default: the user of this machine.
            reason: Why, for the record of actions.

        Raises:
            NotFound: There is none of that name.
            InvalidInput: It is one of Holdfast's own.
            Unavailable, InvalidConfiguration: The database cannot be reached.
        """
        check_subscription(name)
        from holdfast.store import events as store

        subject = f"subscription {name}"
        async with recorded(self._client, "delete subscription", subject=subject, why=reason, by=by):
            await self._client.store.call(store.unsubscribe, name)

    async def cursor(self) -> int:
        """The cursor of the newest event, for `after` of a later `listen`; 0 if there was none.

        Raises:
            Unavailable, InvalidConfiguration: The database cannot be reached.
        """
        from holdfast.store import events as store

        return await self._client.store.call(store.newest_cursor)

    async def _call(
        self,
        wanted: EventFilter,
        function: Callable[Concatenate[Database, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        store = self._client.store
        return await (store.read if wanted.of_runs else store.call)(function, *args, **kwargs)

    async def _pushed(self) -> Push:
        database = await self._client.store.database()
        if self._push is None or self._push.database is not database:
            from holdfast.store.push import Push

            self._push = Push(database)
        return self._push


def _matches(kind: str, pattern: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern


def _check(channel: str, payload: Any, limit_bytes: int, *, stored: bool) -> None:
    if not 0 < len(channel) <= _CHANNEL_CHARS or not channel.isprintable():
        raise InvalidInput(f"channel {channel!r}: use 1 to {_CHANNEL_CHARS} printable characters")
    if channel == RUNS:
        raise InvalidInput(f"channel {RUNS!r} tells what happens to runs: publish to another one")
    try:
        size = len(json.dumps(payload, allow_nan=False)) + (0 if stored else 6 * len(channel))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the payload is no JSON value: {error}") from error
    if size > limit_bytes:
        advice = "store it elsewhere and publish where it is" if stored else "publish it without notify_only"
        raise PayloadTooLarge(f"the payload takes {size:,} bytes, and {limit_bytes:,} are allowed: {advice}")
