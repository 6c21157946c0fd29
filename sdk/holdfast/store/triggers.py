"""The triggers that Temporal does not carry out: those of events and webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from holdfast.errors import Conflict, InvalidInput, NotFound
from holdfast.store.columns import MESSAGE_BYTES, cut
from holdfast.store.database import Database, shared_now
from holdfast.store.events import newest_cursor
from holdfast.store.schema import cursors, triggers
from holdfast.store.upsert import upsert

MAX_TRIGGERS: Final = 1000
"""How many are looked at for each event."""

_LOST: Final = "triggers-lost"


@dataclass(frozen=True, kw_only=True)
class StoredTrigger:
    """One of them."""

    name: str
    kind: str
    condition: Mapping[str, Any]
    """What `OnEvent` or `OnWebhook` have written."""

    target: Mapping[str, Any]
    """What is started."""

    content_hash: str
    owner: str | None
    paused: bool
    note: str | None
    after: int
    """Only events with a higher cursor count."""

    since: datetime
    """Only events of runs that happened later count: by the clock of the database, since those of clients may be
    wrong."""

    created: datetime
    updated: datetime


def put_trigger(
    database: Database,
    name: str,
    *,
    condition: Mapping[str, Any],
    target: Mapping[str, Any],
    content_hash: str,
    owner: str | None,
    replace: bool,
    paused: bool = False,
    note: str | None = None,
) -> StoredTrigger:
    """Store a trigger.

    Args:
        database: Where.
        name: Its name.
        condition: What `OnEvent` or `OnWebhook` have written.
        target: What is started.
        content_hash: Of all of it.
        owner: The code that declares it.
        replace: Whether one of that name is replaced. It stays paused if it was, and goes on at the same event.
        paused: Whether a new one is paused.
        note: Of a new one.

    Raises:
        Conflict: There is one of that name.
        InvalidInput: There are 1,000 already.
        Unavailable: The database does not answer.
    """
    newest = newest_cursor(database)
    with database.write() as connection:
        now = shared_now(connection)
        values = {
            "kind": condition["kind"],
            "condition": dict(condition),
            "target": dict(target),
            "content_hash": content_hash,
            "updated": now,
        }
        old = connection.execute(select(triggers).where(triggers.c.name == name)).mappings().first()
        if old is not None and not replace:
            raise Conflict(
                f"trigger {name!r} exists already; change it with update, or give if_exists='replace'"
            )
        if old is not None:
            connection.execute(update(triggers).where(triggers.c.name == name).values(values))
            return _read({**old, **values})
        count = connection.execute(select(func.count()).select_from(triggers)).scalar_one()
        if count >= MAX_TRIGGERS:
            raise InvalidInput(
                f"there are {count} triggers of events and webhooks, and no more are looked at: delete one first"
            )
        made = {
            "name": name,
            "owner": owner,
            "paused": paused,
            "note": None if note is None else cut(note, MESSAGE_BYTES),
            "after": newest,
            "since": now,
            "created": now,
            **values,
        }
        connection.execute(insert(triggers), made)
        return _read(made)


def find_trigger(database: Database, name: str) -> StoredTrigger | None:
    """The trigger of that name, if there is one."""
    with database.read() as connection:
        row = connection.execute(select(triggers).where(triggers.c.name == name)).mappings().first()
    return None if row is None else _read(row)


def list_triggers(database: Database, *, kind: str | None = None) -> list[StoredTrigger]:
    """All of them by name, or those of one kind."""
    query = select(triggers).order_by(triggers.c.name).limit(MAX_TRIGGERS)
    if kind is not None:
        query = query.where(triggers.c.kind == kind)
    with database.read() as connection:
        return [_read(row) for row in connection.execute(query).mappings()]


def set_paused(database: Database, name: str, *, paused: bool, note: str | None) -> None:
    """Pause a trigger, or let it go on with what happens from now on.

    Raises:
        NotFound: There is none of that name.
    """
    newest = newest_cursor(database)
    with database.write() as connection:
        now = shared_now(connection)
        row = connection.execute(select(triggers).where(triggers.c.name == name)).mappings().first()
        if row is None:
            raise NotFound(f"there is no trigger {name!r}")
        values: dict[str, Any] = {
            "paused": paused,
            "note": None if note is None else cut(note, MESSAGE_BYTES),
            "updated": now,
        }
        if row["paused"] and not paused:
            values |= {"after": newest, "since": now}
        connection.execute(update(triggers).where(triggers.c.name == name).values(values))


def delete_trigger(database: Database, name: str) -> None:
    """Delete a trigger.

    Raises:
        NotFound: There is none of that name.
    """
    with database.write() as connection:
        if not connection.execute(delete(triggers).where(triggers.c.name == name)).rowcount:
            raise NotFound(f"there is no trigger {name!r}")


@dataclass(frozen=True, kw_only=True)
class LostEvents:
    """Events that were deleted before triggers saw them."""

    after: int
    """The cursor up to which they had seen all."""

    until: int
    noticed: datetime


def note_lost_events(database: Database, *, after: int, until: int) -> None:
    """Remember that triggers did not see the events between two cursors; in place of what was lost before."""
    with database.write() as connection:
        row = {"name": _LOST, "value": {"after": after, "until": until}, "updated": shared_now(connection)}
        upsert(connection, cursors, [row])


def lost_events(connection: Connection) -> LostEvents | None:
    """The last events that triggers did not see, if there are any."""
    row = connection.execute(select(cursors).where(cursors.c.name == _LOST)).mappings().first()
    return None if row is None else LostEvents(**row["value"], noticed=row["updated"])


def _read(row: RowMapping | Mapping[str, Any]) -> StoredTrigger:
    return StoredTrigger(**{name: row[name] for name in StoredTrigger.__dataclass_fields__})
