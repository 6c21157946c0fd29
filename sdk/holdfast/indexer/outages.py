"""Times of which runs may be missing: nobody indexed, and Temporal has deleted since what ended then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from holdfast.client.start import unavailable
from holdfast.indexer.progress import check_namespace, listed_ago
from holdfast.store.columns import instant, microseconds
from holdfast.store.database import Database
from holdfast.store.schema import cursors
from holdfast.store.upsert import insert_new

_NAME: Final = "outage/"


@dataclass(frozen=True, kw_only=True)
class Outage:
    """Runs that ended between these times may be missing."""

    since: datetime
    until: datetime

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}


async def note_outage(client: Client, database: Database) -> Outage | None:
    """Before reading on after a pause: note what Temporal may have deleted meanwhile.

    Returns:
        The time of which runs may be missing, `None` if none are.

    Raises:
        InvalidConfiguration: The database keeps the runs of another namespace.
        Unavailable: Temporal or the database does not answer.
    """
    known = await asyncio.to_thread(check_namespace, database, client.namespace)
    lag = await asyncio.to_thread(listed_ago, database)
    if not known or lag is None:
        return None
    try:
        told = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as exc:
        raise unavailable(exc) from exc
    kept = told.config.workflow_execution_retention_ttl.ToTimedelta()
    if not kept or lag <= kept:
        return None
    now = datetime.now(UTC)
    outage = Outage(since=now - lag, until=now - kept)
    await asyncio.to_thread(_note, database, outage)
    return outage


def outages(database: Database) -> Sequence[Outage]:
    """The times of which runs may be missing, the latest first.

    Raises:
        Unavailable: The database does not answer.
    """
    query = select(cursors.c.value).where(cursors.c.name.startswith(_NAME))
    with database.read() as connection:
        values = connection.execute(query).scalars().all()
    found = [Outage(since=instant(value["since"]), until=instant(value["until"])) for value in values]
    return sorted(found, key=lambda outage: outage.since, reverse=True)


def _note(database: Database, outage: Outage) -> None:
    since = microseconds(outage.since)
    value = {"since": since, "until": microseconds(outage.until)}
    # Indexers that come back together note it once, though each has its own idea of now.
    row = {"name": f"{_NAME}{round(since / 1e7)}", "value": value, "updated": datetime.now(UTC)}
    with database.write() as connection:
        insert_new(connection, cursors, [row], ["name"])
