"""How several indexers share the work: runs fall into shards by their id, and each shard has one holder at a time.

A holder that is killed loses its shards when its leases expire. That two hold one for a moment does no harm, since
what they write is the same.
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection, delete, func, select, update

from holdfast.store.database import Database, shared_now
from holdfast.store.schema import leases
from holdfast.store.upsert import upsert

SHARDS: Final = 16
TERM: Final = timedelta(seconds=5)
"""How long after its last sign of life an indexer loses its shards."""

RENEW: Final = timedelta(seconds=1.5)

_MEMBER: Final = "indexer/member/"
_SHARD: Final = "indexer/shard/"


def shard_of(run_id: str) -> int:
    """The shard of a run: all executions of it are in one."""
    return zlib.crc32(run_id.encode("utf-8", "surrogatepass")) % SHARDS


class Leases:
    """The shards of one indexer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._holder = uuid4().hex

    def renew(self) -> frozenset[int]:
        """Say that this indexer lives, take what is its part, and give back what is not.

        Returns:
            The shards that it holds now.

        Raises:
            Unavailable: The database does not answer.
        """
        with self._database.write(lazy=True) as connection:
            now = shared_now(connection)
            connection.execute(
                delete(leases).where(leases.c.name.startswith(_MEMBER), leases.c.expires < now)
            )
            upsert(connection, leases, [self._row(_MEMBER + self._holder, now, 1)])
            members = connection.execute(
                select(leases.c.holder).where(leases.c.name.startswith(_MEMBER)).order_by(leases.c.holder)
            ).scalars()
            known = connection.execute(select(leases).where(leases.c.name.startswith(_SHARD))).mappings()
            return self._take(connection, list(members), {row["name"]: dict(row) for row in known}, now)

    def release(self) -> None:
        """Give everything back, so that others go on at once."""
        with self._database.write() as connection:
            connection.execute(delete(leases).where(leases.c.name == _MEMBER + self._holder))
            connection.execute(
                update(leases)
                .where(leases.c.name.startswith(_SHARD), leases.c.holder == self._holder)
                .values(expires=datetime.fromtimestamp(0, UTC))
            )

    def _take(
        self, connection: Connection, members: list[str], known: dict[str, dict[str, object]], now: datetime
    ) -> frozenset[int]:
        held: list[int] = []
        rows: list[dict[str, object]] = []
        for shard in range(SHARDS):
            name = f"{_SHARD}{shard}"
            old = known.get(name)
            mine = old is not None and old["holder"] == self._holder
            free = old is None or _expiry(old) < now
            if members[shard % len(members)] == self._holder:
                if mine or free:
                    term = _term(old) + (not mine)
                    rows.append(self._row(name, now, term))
                    held.append(shard)
            elif mine and not free:
                rows.append({**self._row(name, now, _term(old)), "expires": datetime.fromtimestamp(0, UTC)})
        upsert(connection, leases, rows)
        return frozenset(held)

    def _row(self, name: str, now: datetime, term: int) -> dict[str, object]:
        return {"name": name, "holder": self._holder, "expires": now + TERM, "term": term}


def members(connection: Connection) -> int:
    """How many indexers are at work."""
    alive = leases.c.name.startswith(_MEMBER) & (leases.c.expires >= shared_now(connection))
    return connection.execute(select(func.count()).select_from(leases).where(alive)).scalar_one()


def _expiry(row: dict[str, object]) -> datetime:
    expires = row["expires"]
    assert isinstance(expires, datetime)
    return expires


def _term(row: dict[str, object] | None) -> int:
    return int(str(row["term"])) if row is not None else 0
