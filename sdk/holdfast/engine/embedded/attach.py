"""Attaching to the server of a home: the functions and the object that users of the package see."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import tempfile
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Self

from holdfast.errors import HoldfastError, InvalidConfiguration, Unavailable

from .connection import Connection, ask, connect, info_of
from .home import Home, ServerInfo
from .lock import FileLock
from .place import Place
from .ports import PREFERRED_PORT, Reservation, reserve
from .protocol import encode

log = logging.getLogger("holdfast.embedded")

DEFAULT_LINGER = timedelta(seconds=60)
_RETURN_DELAYS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
_END_SECONDS = 15.0
_HOLD_ATTEMPTS = 25


def port_of(info: ServerInfo) -> int:
    """The port in the address."""
    return int(info.address.rpartition(":")[2])


class Attachment:
    """A user's place at an embedded server, which runs as long as somebody has one.

    While it is open, it also brings the server's supervisor back should that be killed. Use it as an async
    context manager, or call `close`.
    """

    def __init__(self, place: Place, connection: Connection, info: ServerInfo) -> None:
        self._place = place
        self._connection = connection
        self._info = info
        self._closed = False
        self._task = asyncio.create_task(self._follow(), name="holdfast-attachment")

    @property
    def info(self) -> ServerInfo:
        """Where the server is now."""
        return self._info

    async def close(self) -> None:
        """Give up the place. Returns when a server in memory has ended; another one lingers."""
        if self._closed:
            return
        self._closed = True
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._place.in_memory:
            with suppress(OSError, TimeoutError):
                self._connection.writer.write(encode("detach"))
                async with asyncio.timeout(_END_SECONDS):
                    await self._connection.until_end()
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _follow(self) -> None:
        name = self._place.name
        while True:
            message = await self._connection.receive()
            if message is None:
                log.warning("the supervisor of %s is gone, bringing it back", name)
                await self._connection.close()
                await self._return()
            elif message["type"] == "stopping":
                log.warning("the server of %s was stopped on request", name)
                return
            elif message["type"] == "failed":
                log.error("the server of %s cannot be kept up: %s", name, message.get("message"))
            elif message["type"] == "server" and message.get("state") == "ready":
                self._moved(self._place.info(message))
            elif message["type"] == "server":
                log.warning("the server of %s has died, its supervisor starts it again", name)

    async def _return(self) -> None:
        held = await self._hold_port()
        try:
            await self._take_again()
        finally:
            if held is not None:
                held.close()

    async def _hold_port(self) -> Reservation | None:
        """Keep others off the port until it is served again: clients never find a server that has moved."""
        port = port_of(self._info)
        for _ in range(_HOLD_ATTEMPTS):
            # The killed supervisor's server may take a moment to die.
            if (held := reserve(port, 1, own=port)) is not None:
                return held
            await asyncio.sleep(0.002)
        return None

    async def _take_again(self) -> None:
        for attempt in itertools.count():
            await asyncio.sleep(_RETURN_DELAYS[min(attempt, len(_RETURN_DELAYS) - 1)])
            try:
                self._connection, info = await self._place.take()
            except HoldfastError as error:
                log.error("the server of %s is not back yet: %s", self._place.name, error.message)
            else:
                self._moved(info)
                return

    def _moved(self, info: ServerInfo) -> None:
        if info.address != self._info.address:
            log.error(
                "the server of %s moved from %s to %s, because that port was taken: start this program again",
                *(self._place.name, self._info.address, info.address),
            )
        self._info = info


async def attach(
    home: Path | None,
    *,
    start: bool = True,
    time_skipping: bool = False,
    linger: timedelta = DEFAULT_LINGER,
) -> Attachment:
    """Attach to the server of a home; start it, with its supervisor, when it does not run.

    Args:
        home: The directory that keeps the data, created when missing. `None`: an own server in memory.
        start: Whether to start a server. Commands that only read attach to a running one.
        time_skipping: Whether the server can skip time, for tests; in memory only.
        linger: How long the server stays after its last user has gone, at most a day. In memory it never stays.

    Raises:
        InvalidConfiguration: The home or the configured binary cannot be used, or options clash.
        Unavailable: There is no binary or no server, or it does not start; the message says what to do.
    """
    if home is None and not start:
        raise InvalidConfiguration(
            "A server in memory belongs to its client: attach(None) cannot have start=False"
        )
    if home is not None and time_skipping:
        raise InvalidConfiguration(
            "Time skipping would spoil kept data: it needs a server in memory (home=None)"
        )
    files = _files(home) if home is not None else Home(Path(tempfile.mkdtemp(prefix="holdfast-")))
    place = Place(
        home=files,
        start=start,
        in_memory=home is None,
        time_skipping=time_skipping,
        linger_seconds=0.0 if home is None else max(0.0, linger.total_seconds()),
    )
    try:
        connection, info = await place.take()
    except BaseException:
        if home is None:
            shutil.rmtree(files.root, ignore_errors=True)
        raise
    port = port_of(info)
    if home is not None and port != PREFERRED_PORT:
        log.info(
            "the server of %s listens on port %d, because %d was taken", files.root, port, PREFERRED_PORT
        )
    return Attachment(place, connection, info)


def _files(home: Path) -> Home:
    return Home(Path(os.path.abspath(home)))


def read_info(home: Path) -> ServerInfo | None:
    """The server that runs for a home, `None` if there is none or it is only starting. Changes nothing."""
    files = _files(home)
    message = ask(files)
    if message is None or message["type"] != "server" or message.get("state") != "ready":
        return None
    return info_of(message, files)


async def stop(home: Path) -> bool:
    """Stop the server of a home now, whoever uses it.

    Returns:
        Whether one was running.

    Raises:
        Unavailable: It does not end.
    """
    files = _files(home)
    lock = FileLock(files.supervisor_lock)
    stopped = False
    deadline = time.monotonic() + _END_SECONDS
    # The record of a running supervisor may be damaged for a second, so the lock has the last word.
    while True:
        connection = await connect(files, "stop")
        if connection is not None:
            stopped = True
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await connection.until_end()
            await connection.close()
        if not lock.is_held():
            return stopped
        if time.monotonic() > deadline:
            raise Unavailable(
                f"The supervisor of {files.root} does not end, see {files.supervisor_log}. "
                f"End the processes whose command line names {files.root}."
            )
        await asyncio.sleep(0.01)
