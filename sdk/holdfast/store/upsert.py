"""Insert or update in one statement, which SQLite and PostgreSQL both can, and SQLAlchemy names once for each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
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
    if rows:
        added = None if add is None else tuple(add)
        connection.execute(_upsert(connection.dialect.name, table, tuple(rows[0]), added), list(rows))


def insert_new(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], unique: Sequence[str]
) -> None:
    """Insert rows but those whose `unique` columns are there already."""
    if rows:
        connection.execute(_insert_new(connection.dialect.name, table, tuple(unique)), list(rows))


# Made once for each use: making one takes longer than to insert some rows.


@cache
def _upsert(dialect: str, table: Table, columns: tuple[str, ...], add: tuple[str, ...] | None) -> Any:
    keys = [column.name for column in table.primary_key]
    statement = _insert(dialect, table)
    names = add if add is not None else [name for name in columns if name not in keys]
    new = {
        name: table.c[name] + statement.excluded[name] if add else statement.excluded[name] for name in names
    }
    return statement.on_conflict_do_update(index_elements=keys, set_=new)


@cache
def _insert_new(dialect: str, table: Table, unique: tuple[str, ...]) -> Any:
    return _insert(dialect, table).on_conflict_do_nothing(index_elements=list(unique))


def _insert(dialect: str, table: Table) -> Any:
    return (sqlite if dialect == "sqlite" else postgresql).insert(table)
