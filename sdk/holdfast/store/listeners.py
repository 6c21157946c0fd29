"""Who listens to events of runs: kept as leases, so that one that is killed is forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, delete, select

from holdfast.store.database import Database, shared_now
from holdfast.store.schema import leases
from holdfast.store.upsert import upsert

HEARD: Final = timedelta(seconds=15)
"""How long a listener counts after its last sign of life."""

_LISTENER: Final = "listener/"


def hear(database: Database, name: str) -> None:
    """Somebody listens.

    Args:
        database: Where.
        name: Of the listener, unlike any other.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.write(lazy=True) as connection:
        now = shared_now(connection)
        connection.execute(delete(leases).where(leases.c.name.startswith(_LISTENER), leases.c.expires < now))
        row = {"name": _LISTENER + name, "holder": name, "expires": now + HEARD, "term": 1}
        upsert(connection, leases, [row])


def anybody_listens(connection: Connection) -> bool:
    """Whether somebody does."""
    alive = leases.c.name.startswith(_LISTENER) & (leases.c.expires > shared_now(connection))
    return connection.execute(select(leases.c.name).where(alive).limit(1)).first() is not None
