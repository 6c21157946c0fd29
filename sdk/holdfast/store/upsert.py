"""Insert or update in one statement, which SQLite and PostgreSQL both can, and SQLAlchemy names once for each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    add: Collection[str] | None = None,
) -> None:
    """Insert rows; where the primary key is there, replace what they name.

    Args:
        connection: In a transaction.
        table: With a primary key that each row has.
        rows: All with the same keys.
        add: Columns that are added to in place of being replaced; the others stay.
    """
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    statement = _insert(connection, table)
    names = add if add is not None else [name for name in rows[0] if name not in keys]
    new = {
        name: table.c[name] + statement.excluded[name] if add else statement.excluded[name] for name in names
    }
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), list(rows))


def insert_new(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], unique: Sequence[str]
) -> None:
    """Insert rows but those whose `unique` columns are there already."""
    if rows:
        statement = _insert(connection, table).on_conflict_do_nothing(index_elements=list(unique))
        connection.execute(statement, list(rows))


def _insert(connection: Connection, table: Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
