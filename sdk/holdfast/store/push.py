"""Wakes those who listen when a database has new events: PostgreSQL says so, a SQLite file is looked at."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import datetime
from typing import TYPE_CHECKING, Final, LiteralString
from uuid import uuid4

from sqlalchemy import func, select, text

from holdfast.client.events import Event
from holdfast.errors import HoldfastError
from holdfast.store.database import Database
from holdfast.store.events import CHANGED, MESSAGES
from holdfast.store.listeners import HEARD, anybody_listens, hear

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger("holdfast.events")

LOOK_SECONDS: Final = 0.04
"""How often a SQLite file is looked at. A look takes some microseconds, and reads no table."""

HINTS_BYTES: Final = 7500
"""The largest message that PostgreSQL carries, and some room."""

_HINTS: Final = "holdfast_hints"
_SAFETY_SECONDS: Final = 5.0
"""How often listeners read without being woken: a network may lose a connection and not say so."""

_RETURN_SECONDS: Final = 0.5


class Push:
    """Watches one database for the listeners of one client."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._woken: dict[asyncio.Event, Callable[[Event], object]] = {}
        self._to_runs: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._watching = False

    @property
    def patience(self) -> float:
        """How many seconds to wait for being woken before reading all the same."""
        return _SAFETY_SECONDS if self._watching else 0.1

    @contextlib.contextmanager
    def listening(
        self, on_message: Callable[[Event], object], *, to_runs: bool = True
    ) -> Generator[asyncio.Event]:
        """Be woken as long as the block lasts.

        Args:
            on_message: Called with each message that is not stored.
            to_runs: Whether events of runs are wanted: indexers are then told to hurry.
        """
        woken = asyncio.Event()
        self._woken[woken] = on_message
        if to_runs:
            self._to_runs.add(woken)
            if self._telling is None:
                self._telling = asyncio.create_task(self._tell(), name="holdfast-listener")
        if self._task is None:
            watch = self._look if self.database.is_sqlite else self._hear
            self._task = asyncio.create_task(watch(), name="holdfast-events")
        try:
            yield woken
        finally:
            del self._woken[woken]
            self._to_runs.discard(woken)
            if self._telling is not None and not self._to_runs:
                self._telling.cancel()
                self._telling = None
            if not self._woken:
                self._task.cancel()
                self._task, self._watching = None, False

    async def _tell(self) -> None:
        """Say that somebody listens. Who cannot say so hears of runs later."""
        name = uuid4().hex
        while True:
            with contextlib.suppress(HoldfastError):
                await asyncio.to_thread(hear, self.database, name)
            await asyncio.sleep(HEARD.total_seconds() / 3)

    def _wake(self) -> None:
        for woken in self._woken:
            woken.set()

    async def _look(self) -> None:
        while True:
            try:
                with contextlib.closing(self._opened()) as connection:
                    self._watching, seen = True, None
                    while True:
                        # Changes with each commit of another connection, in whichever process.
                        now = connection.execute("PRAGMA data_version").fetchone()
                        if now != seen:
                            seen = now
                            self._wake()
                        await asyncio.sleep(LOOK_SECONDS)
            except sqlite3.Error as error:
                self._watching = False
                log.debug("cannot look at the database: %s", error)
            await asyncio.sleep(_RETURN_SECONDS)

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(str(self.database.engine.url.database), timeout=0, isolation_level=None)

    async def _hear(self) -> None:
        import psycopg  # an extra

        while True:
            try:
                async with _listening(self.database, CHANGED, MESSAGES) as connection:
                    self._watching = True
                    self._wake()  # for what came before
                    async for told in connection.notifies():
                        if told.channel == MESSAGES:
                            self._pass_on(told.payload)
                        self._wake()
            except (
                psycopg.Error
            ) as error:  # on Windows also that its loop cannot do this: listeners then look
                log.debug("cannot listen to the database: %s", error)
            self._watching = False
            self._wake()
            await asyncio.sleep(_RETURN_SECONDS)

    def _pass_on(self, written: str) -> None:
        try:
            told = json.loads(written)
            event = Event(
                cursor=None,
                channel=told["channel"],
                kind="published",
                run_id=None,
                at=datetime.fromisoformat(told["at"]),
                payload=told["payload"],
            )
        except (ValueError, KeyError, TypeError):  # anybody may notify this channel
            log.warning("a message that is none was ignored")
            return
        for pass_on in self._woken.values():
            pass_on(event)


def pass_hints(database: Database, message: str) -> bool:
    """Tell indexers on PostgreSQL that runs have something new.

    Args:
        database: Their database.
        message: Up to `HINTS_BYTES`.

    Returns:
        Whether anybody listens to events; otherwise nothing was sent.

    Raises:
        Unavailable: The database does not answer.
    """
    with database.read() as connection:
        if not anybody_listens(connection):
            return False
        connection.execute(text("SET LOCAL synchronous_commit = off"))  # nothing is kept
        connection.execute(select(func.pg_notify(_HINTS, message)))
        connection.commit()
        return True


async def hear_hints(database: Database, on_message: Callable[[bytes], object]) -> None:
    """Hear what `pass_hints` tells, until cancelled."""
    import psycopg  # an extra

    while True:
        with contextlib.suppress(psycopg.Error):  # it comes back, and hints are not needed
            async with _listening(database, _HINTS) as connection:
                async for told in connection.notifies():
                    on_message(told.payload.encode())
        await asyncio.sleep(_RETURN_SECONDS)


@contextlib.asynccontextmanager
async def _listening(
    database: Database, *channels: LiteralString
) -> AsyncGenerator[psycopg.AsyncConnection[tuple[object, ...]]]:
    import psycopg

    args, options = database.engine.dialect.create_connect_args(database.engine.url)
    connection = await psycopg.AsyncConnection.connect(*args, **options, autocommit=True)
    async with connection:
        for channel in channels:
            await connection.execute(f"LISTEN {channel}")
        yield connection
