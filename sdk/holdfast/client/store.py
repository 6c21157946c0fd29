"""The read model as a client reaches it: opened when something first asks for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

# The packages alone, which cost nothing: one that is half imported fails threads that import parts of it.
import holdfast.indexer  # pyright: ignore[reportUnusedImport]
import holdfast.store  # noqa: F401 # pyright: ignore[reportUnusedImport]
from holdfast.errors import InvalidConfiguration, Unavailable
from holdfast.settings import load

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.store.database import Database

_FIRST_SECONDS = 15.0
"""How long the first use of a home's history waits for the home's own indexer."""

_ID_SECONDS = 2.0
"""How long Temporal has to say which namespace it is."""

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """`client.store`: what `holdfast indexer` keeps. The nouns read it; use them in place of this.

    The functions of `holdfast.store` are sync and take the database first; here they are called in a thread.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._database: Database | None = None
        self._indexed = self._ours = False
        self._wait_until: float | None = None
        self._opening = asyncio.Lock()

    async def read(
        self, function: Callable[Concatenate[Database, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function on what an indexer has read. That of a home begins some seconds after its server, and is
        waited for; where one reads for the first time and takes longer, the function gets what is there so far.

        Raises:
            Unavailable: No indexer has read this namespace yet, and none does; or the database does not answer.
            InvalidConfiguration: The database keeps the runs of another namespace, or `sqlalchemy` is missing.
        """
        database = await self.database()
        if not self._indexed:
            await self._until_indexed(database)
        return await asyncio.to_thread(function, database, *args, **kwargs)

    async def call(
        self, function: Callable[Concatenate[Database, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a function on what needs no indexer: definitions, the audit log, keys.

        Raises:
            Unavailable, InvalidConfiguration: As `database`.
        """
        return await asyncio.to_thread(function, await self.database(), *args, **kwargs)

    @property
    def kept(self) -> bool:
        """Whether there is a history, also one that does not answer: `HOLDFAST_DATABASE_URL` is set, or the home has
        one."""
        if self._client.in_memory or find_spec("sqlalchemy") is None:
            return False
        settings = load(self._client.home)
        return settings.database_url is not None or (settings.home / "history.db").exists()

    async def lag(self) -> timedelta | None:
        """How far the history is behind Temporal; `None` if no indexer has read anything yet.

        Raises:
            Unavailable, InvalidConfiguration: As `database`.
        """
        from holdfast.indexer.progress import lag_of

        return await self.call(lag_of)

    async def has_indexer(self) -> bool:
        """Whether an indexer is at work, or the home's server begins one by itself.

        Raises:
            Unavailable, InvalidConfiguration: As `database`.
        """
        home = self._client.home
        return (home is not None and load(home).indexer == "auto") or await self.call(_is_read)

    async def database(self) -> Database:
        """The database that `HOLDFAST_DATABASE_URL` names, else `history.db` in the home.

        Raises:
            Unavailable: It does not answer; or the server is one in memory, of which no history is kept.
            InvalidConfiguration: The database keeps the runs of another namespace; the URL cannot be; or `sqlalchemy`
                is missing.
        """
        async with self._opening:
            if self._database is None:
                if self._client.in_memory:
                    raise Unavailable("a server in memory keeps no history: give Client.embedded a home")
                self._database = await asyncio.to_thread(_open, self._client.home)
            if not self._ours:
                await self._check_owner(self._database)
            return self._database

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None
            self._ours = False

    async def _check_owner(self, database: Database) -> None:
        from holdfast.indexer.owner import check_owner, namespace_id

        try:
            async with asyncio.timeout(_ID_SECONDS):
                identity = await namespace_id(self._client.temporal)
        except (Unavailable, TimeoutError):
            return  # what is kept can be read without Temporal, and the next call looks again
        await check_owner(self._client.namespace, identity, database)
        self._ours = True

    async def _until_indexed(self, database: Database) -> None:
        home = self._client.home
        waits = home is not None and load(home).indexer == "auto"
        if self._wait_until is None:
            self._wait_until = time.monotonic() + (_FIRST_SECONDS if waits else 0)
        while True:
            try:
                return await asyncio.to_thread(self._check_indexed, database)
            except Unavailable:
                if time.monotonic() >= self._wait_until:
                    if await asyncio.to_thread(_is_read, database):
                        return None
                    raise
            await asyncio.sleep(0.2)

    def _check_indexed(self, database: Database) -> None:
        from holdfast.indexer.progress import check_namespace

        namespace = self._client.namespace
        if not check_namespace(database, namespace):
            raise Unavailable(
                f"no indexer has read the runs of namespace {namespace!r} into {database.name} yet: "
                "start `holdfast indexer`"
            )
        self._indexed = True


def _is_read(database: Database) -> bool:
    """Whether an indexer is at work."""
    from holdfast.indexer.leases import members

    with database.read() as connection:
        return members(connection) > 0


def _open(home: Path | None) -> Database:
    try:
        from holdfast.store.database import Database  # slow to import, and many processes need none
    except ModuleNotFoundError as error:
        if error.name != "sqlalchemy":
            raise
        raise InvalidConfiguration("the history needs a database: pip install 'holdfast[store]'") from error
    return Database.of(load(home))
