"""Whose runs a database keeps: those of one namespace of one Temporal server.

Namespaces of two servers may have the same name. The id that a server gives a namespace is another one everywhere, and
stays with the server's own database.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from holdfast.client.start import unavailable
from holdfast.errors import InvalidConfiguration
from holdfast.indexer.progress import check_namespace
from holdfast.store.database import Database
from holdfast.store.schema import cursors
from holdfast.store.upsert import insert_new

_NAME: Final = "namespace-id"
_TELLS_NOT: Final = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.NOT_FOUND)


async def claim(client: Client, database: Database) -> None:
    """Make an empty database that of this namespace; refuse that of another one.

    Raises:
        InvalidConfiguration: The database keeps the runs of another namespace.
        Unavailable: Temporal or the database does not answer.
    """
    identity = await namespace_id(client)
    if identity:
        await asyncio.to_thread(_claim, database, identity)
    await check_owner(client.namespace, identity, database)


async def check_owner(namespace: str, identity: str, database: Database) -> bool:
    """Refuse the database of another namespace.

    Args:
        namespace: The name of this one.
        identity: Its id. If it is empty, only the names are compared.
        database: The store.

    Returns:
        Whether an indexer has come to an end in this one.

    Raises:
        InvalidConfiguration: The database keeps the runs of another namespace.
        Unavailable: The database does not answer.
    """
    indexed = await asyncio.to_thread(check_namespace, database, namespace)
    found = await asyncio.to_thread(_owner, database)
    if identity and found not in (None, identity):
        raise InvalidConfiguration(
            f"The database {database.name} keeps the runs of a namespace {namespace!r} of another Temporal server "
            f"(its id is {found}, and here it is {identity}): each home and each cluster needs a database of its own. "
            "If the other server is gone for good, `holdfast db reset` empties the database."
        )
    return indexed


async def namespace_id(client: Client) -> str:
    """The id that the server gave the namespace; empty where it does not tell.

    Raises:
        Unavailable: Temporal does not answer.
    """
    try:
        told = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as exc:
        if exc.status in _TELLS_NOT:
            return ""
        raise unavailable(exc) from exc
    return told.namespace_info.id


def _claim(database: Database, identity: str) -> None:
    with database.write() as connection:
        row = {"name": _NAME, "value": identity, "updated": datetime.now(UTC)}
        insert_new(connection, cursors, [row], ["name"])


def _owner(database: Database) -> str | None:
    with database.read() as connection:
        return connection.execute(select(cursors.c.value).where(cursors.c.name == _NAME)).scalar()
