"""Getting a place at the supervisor of a home, starting one when none runs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from holdfast import settings
from holdfast.errors import Unavailable

from .binary import find_or_download
from .connection import Connection, connect, info_of
from .home import Home, ServerInfo
from .indexing import can_index
from .launch import launch, prepare
from .lock import FileLock
from .logs import tail
from .server import READY_SECONDS

_TAKE_SECONDS = 30.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how to attach."""

    home: Home
    start: bool
    """Whether to start a supervisor; otherwise only attach."""
    in_memory: bool
    time_skipping: bool
    linger_seconds: float

    @property
    def name(self) -> str:
        """What messages call the home."""
        return "memory" if self.in_memory else str(self.home.root)

    async def take(self) -> tuple[Connection, ServerInfo]:
        """Attach, after starting a supervisor if necessary, and wait for the server.

        Any number of processes may do this at once: `start.lock` lets one of them start a supervisor, and
        `supervisor.lock`, which that one holds until it ends, lets no second one live.

        Raises:
            InvalidConfiguration: The home cannot be used.
            Unavailable: No server runs and none may or can be started.
        """
        deadline = time.monotonic() + _TAKE_SECONDS
        while True:
            connection = await connect(self.home, "attach", linger_seconds=self.linger_seconds)
            if connection is not None:
                info = await self._served(connection)
                if info is not None:
                    return connection, info
            elif not self.start:
                raise Unavailable(
                    f"No server runs for the home {self.name!r}. Start one with `holdfast dev` or with a "
                    "program that uses Client.embedded(), or choose another home: --home, HOLDFAST_HOME."
                )
            else:
                try:
                    await self._start()
                except OSError as error:
                    # For example a home that is deleted just now.
                    raise Unavailable(
                        f"The home {self.name!r} cannot be used: {error}. Try again."
                    ) from error
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The supervisor of {self.name} does not answer. End the processes that use this home "
                    f"and try again.{tail(self.home.supervisor_log)}"
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def _served(self, connection: Connection) -> ServerInfo | None:
        """Where the server is, once it is up; `None` when the supervisor ended instead."""
        try:
            async with asyncio.timeout(READY_SECONDS * 2):
                while (message := await connection.receive()) is not None:
                    if message["type"] == "server" and message.get("state") == "ready":
                        return self.info(message)
                    if message["type"] == "failed":
                        raise Unavailable(str(message.get("message")))
        except BaseException as error:
            connection.writer.close()
            if isinstance(error, TimeoutError):
                raise Unavailable(
                    f"The server of {self.name} is not ready yet, see {self.home.server_log}"
                ) from error
            raise
        await connection.close()
        return None

    async def _start(self) -> None:
        here = settings.load(self.home.root)
        binary = await find_or_download(here.temporal_binary)
        prepare(self.home)
        starting = FileLock(self.home.start_lock)
        if not starting.try_acquire():
            return
        try:
            if FileLock(self.home.supervisor_lock).is_held():
                # A supervisor is ending, or is about to write its record again.
                return
            await asyncio.to_thread(
                launch,
                self.home,
                binary,
                in_memory=self.in_memory,
                time_skipping=self.time_skipping,
                index=here.indexer == "auto" and not self.in_memory and can_index(),
            )
        finally:
            starting.release()

    def info(self, message: dict[str, Any]) -> ServerInfo:
        """What a `server` message in state `ready` says."""
        return info_of(message, self.home, in_memory=self.in_memory)
