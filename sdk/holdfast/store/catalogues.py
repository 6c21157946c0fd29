"""What workers serve, as they have published it: a document that many serve stands here once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, delete, select

from holdfast.store.columns import ID_BYTES, Instant, Json, String, bounded
from holdfast.store.database import Database
from holdfast.store.schema import metadata
from holdfast.store.upsert import insert_new, upsert

KEPT: Final = timedelta(days=30)
"""How long it is remembered what a worker served that is gone."""

MAX_WORKERS: Final = 1000
"""Of one queue: where workers come and go by the minute, the last ones are remembered."""

catalogues = Table(
    "catalogues",
    metadata,
    Column("hash", String, primary_key=True, autoincrement=False),
    Column("document", Json, nullable=False),
)

catalogue_workers = Table(
    "catalogue_workers",
    metadata,
    Column("identity", String, primary_key=True, autoincrement=False),
    Column("queue", String, primary_key=True, autoincrement=False),
    Column("hash", String, nullable=False, server_default=""),
    Column("build_id", String),
    Column("deployment", String),
    Column("holdfast", String, nullable=False, server_default=""),
    Column("started", Instant, nullable=False),
    Column("seen", Instant, nullable=False),
)
"""`seen` is for pruning: who is there is asked of Temporal."""


@dataclass(frozen=True, kw_only=True)
class ServedBy:
    """A worker at a queue, and what it serves. Long names are cut as `queue_key` cuts them."""

    identity: str
    queue: str
    hash: str
    """Of the document."""

    build_id: str | None
    deployment: str | None
    holdfast: str
    """The version of Holdfast."""

    started: datetime
    seen: datetime


def queue_key(name: str) -> str:
    """The name of a queue or a worker as it is kept."""
    return bounded(name, ID_BYTES)


def publish_catalogue(
    database: Database,
    document: Mapping[str, Any],
    workers: Sequence[ServedBy],
) -> None:
    """Say what a worker serves; also once in a while, to say that it still does.

    Args:
        database: Where.
        document: What it serves, as JSON values.
        workers: The worker at each of its queues, all with the hash of the document.

    Raises:
        Unavailable: The database does not answer.
    """
    rows = [
        {**vars(one), "identity": queue_key(one.identity), "queue": queue_key(one.queue)} for one in workers
    ]
    with database.write() as connection:
        found = {"hash": workers[0].hash, "document": dict(document)}
        insert_new(connection, catalogues, [found], ["hash"])
        upsert(connection, catalogue_workers, rows)
        _prune(connection, [row["queue"] for row in rows])


def _prune(connection: Connection, queues: Sequence[str]) -> None:
    table = catalogue_workers.c
    old = delete(catalogue_workers).where(table.seen < datetime.now(UTC) - KEPT)
    connection.execute(old)
    for queue in queues:
        newest = select(table.seen).where(table.queue == queue).order_by(table.seen.desc())
        last = connection.execute(newest.offset(MAX_WORKERS - 1).limit(1)).scalar()
        if last is not None:
            connection.execute(delete(catalogue_workers).where(table.queue == queue, table.seen < last))
    served = select(table.hash).where(table.hash == catalogues.c.hash).exists()
    connection.execute(delete(catalogues).where(~served))


def read_workers(database: Database) -> list[ServedBy]:
    """What is remembered of workers, those that are gone included.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        rows = connection.execute(select(catalogue_workers)).mappings()
        return [ServedBy(**row) for row in rows]


def read_documents(database: Database, hashes: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Documents by their hashes.

    Raises:
        Unavailable: The database does not answer.
    """
    query = select(catalogues.c.hash, catalogues.c.document).where(catalogues.c.hash.in_(hashes))
    with database.read() as connection:
        return {row.hash: row.document for row in connection.execute(query)}
