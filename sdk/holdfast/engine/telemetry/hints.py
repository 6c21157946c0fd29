"""What workers tell indexers as it happens: which runs have something new.

A hint only makes an indexer look sooner. It may be lost, come twice or be false: what is stored is what Temporal says,
and runs of which no hint came are found all the same. Nothing is sent but while somebody listens to the events of runs:
an indexer opens its socket only then.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from holdfast.engine.data.values import is_object
from holdfast.engine.embedded.home import Home
from holdfast.engine.telemetry.step_logs import can_keep
from holdfast.settings import load

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.store.database import Database

logger = logging.getLogger("holdfast.telemetry")

MAX_BYTES: Final = 128 * 1024
PER_MESSAGE: Final = 100

_DEAF_SECONDS: Final = 0.5
"""How long nothing is noted where nobody was there to hear it."""

_MAX_WAITING: Final = 500
_MAX_INDEXERS: Final = 8
_ADDRESS_BYTES: Final = 100
"""Systems allow 103 or more."""

_MAX_ID_CHARS: Final = 1000
_EXECUTION: Final = re.compile(r"[0-9a-fA-F-]{36}")

Hint = tuple[str, str]
"""A run's id and the id of its execution."""


class Way(Protocol):
    """How hints come to indexers."""

    window_seconds: float
    """What happens in this time is told together."""

    def send(self, hints: Sequence[Hint]) -> bool:
        """Returns whether there was anybody to send to. May raise anything."""
        ...

    def close(self) -> None:
        """The last one was sent."""


class Hints:
    """Sends hints from a thread of its own: nobody waits for it, and it raises nothing.

    Args:
        way: How.
    """

    def __init__(self, way: Way) -> None:
        self._way = way
        self._noted: dict[Hint, None] = {}
        self._guard = threading.Lock()
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._deaf_until = 0.0

    def note(self, run_id: str, execution_id: str) -> None:
        """Something has happened in a run, or is about to be recorded. Safe in any thread."""
        if time.monotonic() < self._deaf_until:
            return
        with self._guard:
            if len(self._noted) < _MAX_WAITING:
                self._noted[run_id, execution_id] = None
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="holdfast-hints", daemon=True)
                self._thread.start()
        self._news.set()

    def stop(self) -> None:
        """Send what is left."""
        self._closing.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(1)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.wait()
            self._closing.wait(self._way.window_seconds)
            self._news.clear()
            with self._guard:
                noted, self._noted = list(self._noted), {}
            try:
                heard = self._way.send(noted)
            except Exception as error:  # of whatever kind: the thread must live, and hints are not needed
                logger.debug("hints are not sent", exc_info=error)
                heard = False
            if not heard:
                self._deaf_until = time.monotonic() + _DEAF_SECONDS
        self._way.close()


class Sockets:
    """To the sockets of a home's indexers.

    Args:
        folder: Where they are.
    """

    window_seconds = 0.03

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket: socket.socket | None = None

    def send(self, hints: Sequence[Hint]) -> bool:
        """See `Way`."""
        names = os.listdir(self._folder)[:_MAX_INDEXERS]
        if names and self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        for name in names:
            assert self._socket is not None
            for start in range(0, len(hints), PER_MESSAGE):
                try:
                    with addressed(self._folder / name) as address:
                        self._socket.sendto(encode(hints[start : start + PER_MESSAGE]), address)
                except ConnectionRefusedError:  # its indexer was killed; each has a name of its own
                    with contextlib.suppress(OSError):
                        os.unlink(self._folder / name)
                    break
                except OSError:  # it has not taken what came before
                    break
        return bool(names)

    def close(self) -> None:
        """See `Way`."""
        if self._socket is not None:
            self._socket.close()


class Notices:
    """Through the PostgreSQL of a cluster's indexers.

    Args:
        open: Opens it.
    """

    window_seconds = 0.1

    def __init__(self, open: Callable[[], Database]) -> None:
        self._open = open
        self._database: Database | None = None

    def send(self, hints: Sequence[Hint]) -> bool:
        """See `Way`."""
        from holdfast.store.push import HINTS_BYTES, pass_hints

        if self._database is None:
            self._database = self._open()
        message: list[Hint] = []
        for hint in hints[:PER_MESSAGE]:  # one message at a time: what is left out is found all the same
            if len(encode([*message, hint])) > HINTS_BYTES:
                break
            message.append(hint)
        return pass_hints(self._database, encode(message).decode())

    def close(self) -> None:
        """See `Way`."""
        if self._database is not None:
            self._database.close()


def hints_of(client: Client) -> Hints | None:
    """What tells the indexers of what runs on the workers of a client; `None` where there is no way to.

    Args:
        client: A connected client.
    """
    if client.in_memory:
        return None
    if client.home is not None:
        return Hints(Sockets(Home(client.home).hints)) if hasattr(socket, "AF_UNIX") else None
    settings = load()
    if not (settings.database_url or "").startswith("postgres") or not can_keep():
        return None

    def open() -> Database:
        from holdfast.store.database import Database

        return Database.of(settings)

    return Hints(Notices(open))


@contextlib.contextmanager
def addressed(path: Path) -> Generator[str]:
    """The address of a socket, also where its path is longer than an address may be.

    Raises:
        OSError: This system cannot.
    """
    if len(os.fsencode(path)) <= _ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def encode(hints: Sequence[Hint]) -> bytes:
    """As a message."""
    by_execution = {execution_id: run_id for run_id, execution_id in hints}
    return json.dumps(by_execution, ensure_ascii=False).encode("utf-8", "replace")


def decode(message: bytes) -> list[Hint]:
    """The hints of a message; none if it is not one, whoever sent it."""
    if len(message) > MAX_BYTES:
        return []
    try:
        told: object = json.loads(message)
    except (ValueError, RecursionError):
        return []
    found = list(told.items())[:PER_MESSAGE] if is_object(told) else []
    return [(run_id, execution_id) for execution_id, run_id in found if _may_be(run_id, execution_id)]


def _may_be(run_id: object, execution_id: str) -> bool:
    if not isinstance(run_id, str) or not 0 < len(run_id) <= _MAX_ID_CHARS:
        return False
    has_surrogates = any("\ud800" <= char <= "\udfff" for char in run_id)
    return not has_surrogates and _EXECUTION.fullmatch(execution_id) is not None
