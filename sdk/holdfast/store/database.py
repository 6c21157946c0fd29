"""Opens the database of the read model: a SQLite file, or PostgreSQL.

Sync on purpose: SQLite's driver is, threads overlap wherever a database waits, and one code serves both; async callers
use `asyncio.to_thread`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from holdfast.errors import HoldfastError, InvalidConfiguration, Unavailable
from holdfast.settings import Settings
from holdfast.store.migrate import migrate

FILE_NAME: Final = "history.db"
"""The SQLite file in a home."""

BUSY_SECONDS: Final = 60.0
"""How long a call waits for others that write to the same SQLite file."""

POOL_SIZE: Final = 20
_WRITE_LOCK: Final = 0x486F6C64
"""The number of the advisory lock that writers in PostgreSQL take."""

_WRITES: Final = "holdfast_writes"
_LAZY: Final = "holdfast_lazy"


class Database:
    """The read model's database. Safe to use from several threads, and by several processes at a time."""

    def __init__(self, engine: Engine, *, has_search_index: bool) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.has_search_index = has_search_index
        """Whether substrings are found by an index. Without PostgreSQL's extension `pg_trgm` all rows are looked at."""

    @classmethod
    def of(cls, settings: Settings) -> Database:
        """Open what `HOLDFAST_DATABASE_URL` names, else `history.db` in the home; see `open`."""
        return cls.open(settings.database_url or settings.home / FILE_NAME)

    @classmethod
    def open(cls, where: str | Path, *, upgrade: bool = True) -> Database:
        """Open a database and bring its tables up to date.

        Args:
            where: The path of a SQLite file, made if it is missing, or a URL: `sqlite:///path` or
                `postgresql://user:password@host:port/name`.
            upgrade: Whether to change tables of an older Holdfast, and make those that are missing.

        Raises:
            InvalidConfiguration: The URL names nothing that can be a database of Holdfast; a driver is missing; the
                tables are of a newer Holdfast.
            Unavailable: The database does not answer, or is locked.
        """
        url = _url(where)
        engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgres(url)
        try:
            with _told(engine):
                if engine.dialect.name == "sqlite":
                    _prepare_file(engine)
                database = cls(engine, has_search_index=False)
                if upgrade:
                    migrate(database.write)
                database.has_search_index = database.is_sqlite or _has_trigrams(engine)
        except BaseException:
            engine.dispose()
            raise
        return database

    @property
    def name(self) -> str:
        """Its URL, without the password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def read(self) -> Generator[Connection]:
        """A connection that sees the database as it is at its first query.

        Raises:
            Unavailable: The database does not answer.
        """
        with _told(self.engine), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self, *, lazy: bool = False) -> Generator[Connection]:
        """A transaction, committed at the end. One writes at a time, in all processes.

        That is what SQLite does by itself. In PostgreSQL it keeps figures right and makes the cursors of events visible
        in their order, so that a reader who goes on from the last one misses none.

        Args:
            lazy: Whether it may be lost when the machine loses its power, as a lease or a cursor that is written again
                anyway: no disk is waited for.

        Raises:
            Unavailable: The database does not answer, is full, or was locked for a minute.
        """
        options = {_WRITES: True, _LAZY: lazy}
        with _told(self.engine), self.engine.execution_options(**options).begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITE_LOCK})
                if lazy:
                    connection.execute(text("SET LOCAL synchronous_commit = off"))
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def shared_now(connection: Connection) -> datetime:
    """The time that all who use a database share: the clocks of their machines differ."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    assert isinstance(now, datetime)
    return now


def _url(where: str | Path) -> URL:
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(Path(where).expanduser().resolve()))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise InvalidConfiguration(
            "The database URL cannot be read; write it as postgresql://user:password@host:5432/name."
        ) from error
    backend = url.drivername.partition("+")[0]
    if backend in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and url.database and url.database != ":memory:":
        return url.set(drivername="sqlite", database=str(Path(url.database).expanduser().resolve()))
    raise InvalidConfiguration(
        f"{url.render_as_string()!r} is no database that Holdfast knows: use postgresql://... or "
        "sqlite:///path/of/a/file."
    )


def _postgres(url: URL) -> Engine:
    try:
        return create_engine(url, pool_size=POOL_SIZE, max_overflow=0, pool_pre_ping=True)
    except (ImportError, NoSuchModuleError) as error:
        raise InvalidConfiguration("PostgreSQL needs a driver: pip install 'holdfast[postgres]'.") from error


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        for pragma in ("synchronous=FULL", "cache_size=-16000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        # A transaction that first reads and then writes would fail at once if another has written in between.
        writes = connection.get_execution_options().get(_WRITES)
        if writes:  # the file's log is synced as a whole, so a later transaction that is not lazy keeps those before it
            lazy = connection.get_execution_options().get(_LAZY)
            connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if lazy else 'FULL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _prepare_file(engine: Engine) -> None:
    """Make the folder, and set what stays with the file."""
    path = Path(str(engine.url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidConfiguration(f"The folder of {str(path)!r} cannot be made: {error}.") from error
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            return
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            # The one statement for which SQLite does not wait: another process may be at it.
            try:
                cursor.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
    finally:
        connection.close()


def _has_trigrams(engine: Engine) -> bool:
    with engine.connect() as connection:
        query = text(
            "SELECT 1 FROM pg_indexes WHERE indexname = 'run_details_search' AND schemaname = current_schema()"
        )
        return connection.execute(query).first() is not None


@contextlib.contextmanager
def _told(engine: Engine) -> Generator[None]:
    """Says what a database's error means for the one who called."""
    try:
        yield
    except HoldfastError:
        raise
    except PoolTimeout as error:
        raise Unavailable(f"All {POOL_SIZE} connections to the database are taken; try again.") from error
    except (DBAPIError, sqlite3.Error) as error:
        told = _meaning(engine, error)
        if told is None:
            raise
        raise told from error


def _meaning(engine: Engine, error: DBAPIError | sqlite3.Error) -> HoldfastError | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = str(cause).strip()
    name = engine.url.render_as_string(hide_password=True)
    if "not a database" in said or "malformed" in said:
        return InvalidConfiguration(
            f"The file of {name} is no database, or is damaged ({said}). Move it away: a new one is made, and "
            "the indexer fills it from Temporal."
        )
    if "readonly" in said or "read-only" in said:
        return InvalidConfiguration(
            f"{name} cannot be written to ({said}). Give this user the right to write."
        )
    if type(cause).__name__ in ("OperationalError", "InterfaceError", "AdminShutdown") or getattr(
        error, "connection_invalidated", False
    ):
        return Unavailable(
            f"The database {name} does not do what it was asked: {said}. Workflows go on without it; check that it "
            "runs, can be reached, and has disk left, then try again."
        )
    return None
