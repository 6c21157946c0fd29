"""The table of events: what is told is written once, and read in its order by any number of listeners."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
)

from holdfast.client.events import Event, EventFilter
from holdfast.client.subscription import Subscription
from holdfast.errors import EventsLost, NotFound
from holdfast.store.columns import ID_BYTES, MAX_ID, bounded, instant, microseconds
from holdfast.store.database import Database, shared_now
from holdfast.store.schema import cursors, events
from holdfast.store.upsert import upsert

CHANGED: Final = "holdfast_events"
"""The channel of PostgreSQL that tells the highest cursor at each commit."""

MESSAGES: Final = "holdfast_messages"
"""The channel of PostgreSQL that carries what is not stored."""

PAGE: Final = 100
_WINDOW: Final = 5000
"""How many rows one query looks at to find those that fit a filter."""

_PRUNED: Final = "events-pruned"
_BEFORE: Final = "events-before"
_SUBSCRIPTION: Final = "subscription/"
_MESSAGE: Final = "message/"
_MESSAGE_SECONDS: Final = 60
_DELETE_BATCH: Final = 5000


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some events, in their order."""

    events: Sequence[Event]
    position: int
    """The cursor up to which all was looked at."""

    more: bool
    """Whether there may be more at this moment."""


def read_page(database: Database, wanted: EventFilter, after: int, *, limit: int = PAGE) -> Page:
    """The next events after a cursor.

    Args:
        database: Where.
        wanted: Which.
        after: The cursor of the last one that is known; 0: from the oldest that is kept.
        limit: How many at most.

    Raises:
        EventsLost: Some after the cursor were deleted, or the cursor is of another database.
        Unavailable: The database does not answer.
    """
    after = min(after, MAX_ID)
    # All up to the highest cursor that is visible are visible, so a bound that is read first leaves nothing out.
    has_index = len(wanted.workflows) == 1 or bool(
        wanted.runs
    )  # of several the database would sort all there are
    near = select(events.c.cursor).where(events.c.cursor > after).order_by(events.c.cursor)
    window = near.limit(limit if wanted.everything else _WINDOW).subquery()
    newest = select(literal(0), func.max(events.c.cursor)).where(events.c.cursor > after)
    bound = newest if has_index else select(func.count(), func.max(window.c.cursor))
    with database.read() as connection:
        count, top = connection.execute(bound).one()
        if after:
            _check_kept(connection, after, top)
        if top is None:
            return Page(events=(), position=after, more=False)
        query = select(events).where(events.c.cursor > after, events.c.cursor <= top)
        query = query.where(*_conditions(wanted)).order_by(events.c.cursor).limit(limit)
        rows = connection.execute(query).all()
    full = len(rows) == limit
    return Page(
        events=[event for row in rows if wanted.fits(event := _event(row))],
        position=rows[-1].cursor if full else top,
        more=full or count == _WINDOW,
    )


def list_events(database: Database, wanted: EventFilter, *, before: int | None, limit: int) -> list[Event]:
    """The latest stored events, newest first.

    Args:
        database: Where.
        wanted: Which.
        before: Only those with a lower cursor. Default: all.
        limit: How many at most.

    Raises:
        Unavailable: The database does not answer.
    """
    # Of each workflow by itself, so that the index gives them in their order: one query would sort all there are.
    parts = [replace(wanted, workflows=[one]) for one in set(wanted.workflows)] or [wanted]
    found = [event for part in parts for event in _latest(database, part, before, limit)]
    return sorted(found, key=lambda event: event.cursor or 0, reverse=True)[:limit]


def _latest(database: Database, wanted: EventFilter, before: int | None, limit: int) -> list[Event]:
    found: list[Event] = []
    query = select(events).where(*_conditions(wanted), or_(events.c.identity.is_(None), _no_message()))
    with database.read() as connection:
        while True:
            below = query if before is None else query.where(events.c.cursor < min(before, MAX_ID))
            rows = connection.execute(below.order_by(events.c.cursor.desc()).limit(limit)).all()
            found += [event for row in rows if wanted.fits(event := _event(row))]
            if len(rows) < limit or len(found) >= limit:
                return found[:limit]
            before = rows[-1].cursor


def newest_cursor(database: Database) -> int:
    """The cursor of the newest event, also of one that was deleted; 0 if there was none."""
    with database.read() as connection:
        return _newest(connection)


def publish(database: Database, channel: str, payload: Any) -> int:
    """Store an event that stands for itself.

    Returns:
        Its cursor.
    """
    row = {"channel": bounded(channel), "kind": "published", "payload": payload}
    with database.write() as connection:
        row["at"] = shared_now(connection)
        made = connection.execute(insert(events).values(row).returning(events.c.cursor)).scalar_one()
        announce(connection)
    return int(made)


def pass_on(database: Database, channel: str, payload: Any) -> None:
    """Tell those who listen now, and keep nothing.

    SQLite has no way to tell other processes but its file, so there the message is a row of which nobody who comes
    later is told, and which the next message deletes after a minute.
    """
    now = datetime.now(UTC)
    if not database.is_sqlite:
        written = json.dumps({"channel": channel, "payload": payload, "at": now.isoformat()})
        with database.read() as connection:  # it changes nothing: no need to wait for those who write
            connection.execute(select(func.pg_notify(MESSAGES, written)))
            connection.commit()
        return
    row = {"channel": bounded(channel), "kind": "published", "at": now, "payload": payload}
    old = now - timedelta(seconds=_MESSAGE_SECONDS)
    with database.write() as connection:
        connection.execute(delete(events).where(~_no_message(), events.c.at < old))
        connection.execute(insert(events).values(row | {"identity": f"{_MESSAGE}{uuid4().hex}"}))


def announce(connection: Connection) -> None:
    """Wake all who listen, when the transaction is committed."""
    if connection.dialect.name == "postgresql":
        newest = select(func.coalesce(func.max(events.c.cursor), 0)).scalar_subquery()
        connection.execute(select(func.pg_notify(CHANGED, cast(newest, Text))))


def prune_events(database: Database, before: datetime) -> int:
    """Delete events, from the oldest on up to the first that happened later.

    Returns:
        How many.
    """
    count = 0
    while True:
        with database.write() as connection:
            kept = select(events.c.cursor).where(events.c.at >= before).order_by(events.c.cursor).limit(1)
            first = connection.execute(kept).scalar()
            old = select(events.c.cursor).order_by(events.c.cursor).limit(_DELETE_BATCH)
            if first is not None:
                old = old.where(events.c.cursor < first)
            last = connection.execute(select(func.max(old.subquery().c.cursor))).scalar()
            if last is None:
                return count
            count += connection.execute(delete(events).where(events.c.cursor <= last)).rowcount
            _set(connection, _PRUNED, last)
            _set(connection, _BEFORE, max(microseconds(before), _get(connection, _BEFORE) or 0))


def events_pruned_before(connection: Connection) -> datetime | None:
    """The time before which events were deleted; `None` if none were. Of older ones nobody knows if they were told."""
    value = _get(connection, _BEFORE)
    return None if value is None else instant(value)


def subscribed(database: Database, name: str) -> int | None:
    """How far the consumer of a subscription has come; `None` if there is none of that name."""
    with database.read() as connection:
        return _get(connection, _SUBSCRIPTION + bounded(name))


def subscribe(database: Database, name: str, cursor: int) -> None:
    """Remember how far the consumer of a subscription has come."""
    with database.write() as connection:
        _set(connection, _SUBSCRIPTION + bounded(name), cursor)


def list_subscriptions(database: Database) -> list[Subscription]:
    """All subscriptions by name."""
    query = select(cursors).where(cursors.c.name.startswith(_SUBSCRIPTION)).order_by(cursors.c.name)
    with database.read() as connection:
        return [
            Subscription(
                name=row.name.removeprefix(_SUBSCRIPTION), cursor=int(row.value), updated=row.updated
            )
            for row in connection.execute(query)
        ]


def unsubscribe(database: Database, name: str) -> None:
    """Forget a subscription.

    Raises:
        NotFound: There is none of that name.
    """
    with database.write() as connection:
        if not connection.execute(
            delete(cursors).where(cursors.c.name == _SUBSCRIPTION + bounded(name))
        ).rowcount:
            raise NotFound(f"there is no subscription {name!r}")


def _check_kept(connection: Connection, after: int, top: int | None) -> None:
    pruned = _get(connection, _PRUNED) or 0
    if after < pruned:
        raise EventsLost(
            f"events after cursor {after} were deleted, up to {pruned}: they were kept too short for who listens. "
            f"Read the state of the runs, then go on with after={pruned}",
            resume_after=pruned,
        )
    if top is None and after > (newest := _newest(connection)):
        raise EventsLost(
            f"cursor {after} is of another database: the newest event of this one is {newest}. "
            f"Go on with after={newest}, or with after=0 to get all that are kept",
            resume_after=newest,
        )


def _newest(connection: Connection) -> int:
    if connection.dialect.name == "sqlite":  # it knows the highest that it ever gave
        given = text("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(connection.execute(given).scalar() or 0)
    newest = connection.execute(select(func.max(events.c.cursor))).scalar()
    return max(newest or 0, _get(connection, _PRUNED) or 0)


def _get(connection: Connection, name: str) -> int | None:
    value = connection.execute(select(cursors.c.value).where(cursors.c.name == name)).scalar()
    return None if value is None else int(value)


def _set(connection: Connection, name: str, value: int) -> None:
    upsert(connection, cursors, [{"name": name, "value": value, "updated": datetime.now(UTC)}])


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.channels:
        found.append(events.c.channel.in_([bounded(channel) for channel in wanted.channels]))
    if wanted.runs:
        found.append(events.c.run_id.in_([bounded(run, ID_BYTES) for run in wanted.runs]))
    if wanted.workflows:
        found.append(events.c.workflow.in_([bounded(workflow) for workflow in wanted.workflows]))
    if wanted.kinds:
        found.append(or_(*map(_kind, wanted.kinds)))
    return found


def _kind(pattern: str) -> ColumnElement[bool]:
    if not pattern.endswith("*"):
        return events.c.kind == pattern
    prefix = pattern[:-1]
    # With the column's type, so that no character of the pattern is refused.
    return func.substr(events.c.kind, 1, len(prefix), type_=events.c.kind.type) == prefix


def _no_message() -> ColumnElement[bool]:
    # A range, for which the index of identities serves.
    return or_(events.c.identity < _MESSAGE, events.c.identity >= _MESSAGE[:-1] + chr(ord("/") + 1))


def _event(row: Row[Any]) -> Event:
    message = row.identity is not None and row.identity.startswith(_MESSAGE)
    return Event(
        cursor=None if message else row.cursor,
        channel=row.channel,
        kind=row.kind,
        run_id=row.run_id,
        at=row.at,
        payload=row.payload,
    )
