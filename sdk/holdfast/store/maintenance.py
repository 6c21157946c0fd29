"""Care of the database itself: its revision, its size, and making it anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, insert, inspect, select, text

from holdfast.store import catalogues as catalogues  # its tables are of the metadata too
from holdfast.store.database import Database
from holdfast.store.migrate import HEAD, TABLE, lacking, migrate, migrate_in, revision
from holdfast.store.retention import pruned_before
from holdfast.store.schema import cursors, definitions, events, metadata, runs, unreadable

RESETS: Final = "resets"
"""The cursor that counts how often the database was emptied."""


@dataclass(frozen=True, kw_only=True)
class DatabaseInfo:
    """What a database holds."""

    name: str
    """Its URL, without the password."""

    revision: str | None
    """Of its tables; `None`: it has none yet."""

    head: str
    """The revision that this Holdfast works with."""

    lacks: Sequence[str]
    """Columns that tables of this revision have and these do not, as `table.column`: then nothing is counted."""

    size_bytes: int
    search_index: bool
    """Whether substrings are found by an index."""

    runs: int = 0
    events: int = 0
    workflows: int = 0
    """Stored ones, those that are deleted included."""

    unreadable: int = 0
    """Histories that are kept aside."""

    pruned_before: datetime | None = None
    """Runs that ended before are not kept; `None` before the first pruning."""

    @property
    def is_current(self) -> bool:
        """Whether this Holdfast can use the tables as they are."""
        return self.revision == self.head and not self.lacks

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        pruned = self.pruned_before
        return {**asdict(self), "pruned_before": pruned.isoformat() if pruned else None}


def describe_database(database: Database) -> DatabaseInfo:
    """What a database holds; it may be of another revision, then nothing is counted.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        found = revision(connection)
        missing = lacking(connection) if found == HEAD else []
        is_current = found == HEAD and not missing
        if database.is_sqlite:
            size = _size_of_file(database)
        else:
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        counts = {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in (
                ("runs", runs),
                ("events", events),
                ("workflows", definitions),
                ("unreadable", unreadable),
            )
            if is_current
        }
    return DatabaseInfo(
        name=database.name,
        revision=found,
        head=HEAD,
        lacks=missing,
        size_bytes=size,
        search_index=database.has_search_index,
        pruned_before=pruned_before(database) if is_current else None,
        **counts,
    )


def upgrade_database(database: Database) -> str | None:
    """Bring the tables up to date. Opening a database does so too, unless it is told not to.

    Returns:
        The revision before, `None` for an empty database.

    Raises:
        InvalidConfiguration: The tables are of a newer Holdfast.
        Unavailable: The database does not answer.
    """
    return migrate(database.write)


def reset_database(database: Database) -> None:
    """Delete all tables of Holdfast with what is in them, and make them anew, in one transaction: nobody finds none.
    Other tables stay.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.write() as connection:
        if database.is_sqlite:
            connection.execute(text("DROP TABLE IF EXISTS run_search"))
        known = set(inspect(connection).get_table_names())
        count = 0
        if cursors.name in known:
            count = connection.execute(select(cursors.c.value).where(cursors.c.name == RESETS)).scalar() or 0
        metadata.drop_all(connection, [table for table in metadata.sorted_tables if table.name in known])
        connection.execute(text(f"DROP TABLE IF EXISTS {TABLE}"))
        migrate_in(connection)
        row = {"name": RESETS, "value": count + 1, "updated": datetime.now(UTC)}
        connection.execute(insert(cursors).values(row))


def _size_of_file(database: Database) -> int:
    file = Path(str(database.engine.url.database))
    parts = (file, file.with_name(f"{file.name}-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())
