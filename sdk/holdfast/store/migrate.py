"""Brings the tables up to date, by Alembic, whenever a database is opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from holdfast.errors import InvalidConfiguration

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
        InvalidConfiguration: The tables are of a newer Holdfast.
    """
    with write() as connection:
        return migrate_in(connection)


def migrate_in(connection: Connection) -> str | None:
    """The same in a transaction that is open.

    Returns:
        The revision that the database had, `None` for an empty one.

    Raises:
        InvalidConfiguration: The tables are of a newer Holdfast.
    """
    before = revision(connection)
    if before != HEAD:
        _run(connection, before)
    return before


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
            "used by a newer one. Install that version, or name another database."
        )
    command.upgrade(config, "head")
