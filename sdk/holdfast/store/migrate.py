"""Brings the tables up to date, by Alembic, whenever a database is opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from holdfast.errors import InvalidConfiguration
from holdfast.store.schema import metadata

HEAD: Final = "0001"
"""The newest revision in `migrations/versions`. It stands here so that Alembic is loaded only for work."""

TABLE: Final = "alembic_version"


def migrate(write: Callable[[], AbstractContextManager[Connection]]) -> str | None:
    """Run what is missing, in one transaction: all of it happens or nothing.

    Args:
        write: Opens a transaction that keeps others from writing, so that two processes may migrate at once.

    Returns:
        The revision that the database had, `None` for an empty one.

    Raises:
        InvalidConfiguration: The tables are of a newer Holdfast, or lack columns.
    """
    with write() as connection:
        return migrate_in(connection)


def migrate_in(connection: Connection) -> str | None:
    """The same in a transaction that is open.

    Returns:
        The revision that the database had, `None` for an empty one.

    Raises:
        InvalidConfiguration: The tables are of a newer Holdfast, or lack columns.
    """
    before = revision(connection)
    if before != HEAD:
        _run(connection, before)
    elif missing := lacking(connection):
        named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise InvalidConfiguration(
            f"The tables say that they are of revision {HEAD!r}, and lack {named}: an early version of Holdfast made "
            "them, or somebody has changed them. `holdfast db reset` makes them anew, and indexers read again what "
            "Temporal still has; or name another database."
        )
    return before


def lacking(connection: Connection) -> list[str]:
    """Columns that the tables should have and do not, as `table.column`."""
    if connection.dialect.name == "sqlite":
        query = "SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'"
    else:
        query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
    there = {tuple(row) for row in connection.execute(text(query))}
    return [
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if (table.name, column.name) not in there
    ]


def revision(connection: Connection) -> str | None:
    """The revision of a database, `None` if it is empty."""
    if not inspect(connection).has_table(TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {TABLE}")).scalar()


def _run(connection: Connection, before: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before is not None and before not in known:
        raise InvalidConfiguration(
            f"The database has tables of revision {before!r}, and this Holdfast knows them up to {HEAD!r}: it was "
            "used by a newer one. Install that version, name another database, or delete the tables with all that is "
            "in them: `holdfast db reset`."
        )
    command.upgrade(config, "head")
