"""The supervisor's side of a home's indexer: one process, started after the server, ended with it.

It is no user of the server: it keeps nobody up. Whatever happens to it, the server and its users go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time

from .home import Home
from .logs import rotate

log = logging.getLogger("holdfast.supervisor")

START_SECONDS = 2.0
"""How long after the server it is started: a script's first result does not wait for its imports."""

_RESTART_DELAYS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_STABLE_SECONDS = 120.0
_END_SECONDS = 2.0


class Indexing:
    """Keeps the indexer of one home up."""

    def __init__(self, home: Home, python: str) -> None:
        self._home = home
        self._python = python
        self._address: str | None = None
        self._moved = asyncio.Event()

    def serve(self, address: str) -> None:
        """The server is up."""
        if address != self._address:
            self._address = address
            self._moved.set()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        await self._moved.wait()
        await asyncio.sleep(START_SECONDS)
        while True:
            self._moved.clear()
            began = time.monotonic()
            try:
                process = await self._start()
            except OSError as error:
                log.warning("the indexer cannot be started: %s", error)
            else:
                if await self._until_over(process):
                    continue
                log.warning(
                    "the indexer (pid %d) ended with exit code %s, see %s",
                    *(process.pid, process.returncode, self._home.indexer_log),
                )
            failures = 0 if time.monotonic() - began > _STABLE_SECONDS else failures
            await asyncio.sleep(_RESTART_DELAYS[min(failures, len(_RESTART_DELAYS) - 1)])
            failures += 1

    async def _start(self) -> asyncio.subprocess.Process:
        assert self._address is not None
        rotate(self._home.indexer_log)
        fd = os.open(self._home.indexer_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # -P: what lies in the working directory is no module.
            return await asyncio.create_subprocess_exec(
                *(self._python, "-P", "-m", "holdfast.indexer"),
                *("--home", str(self._home.root), "--address", self._address),
                stdin=asyncio.subprocess.PIPE,
                stdout=fd,
                stderr=fd,
                cwd=self._home.root,
            )
        finally:
            os.close(fd)

    async def _until_over(self, process: asyncio.subprocess.Process) -> bool:
        """Wait for its end, or end it because the server has moved.

        Returns:
            Whether the server has moved.
        """
        ended, moved = asyncio.create_task(process.wait()), asyncio.create_task(self._moved.wait())
        try:
            await asyncio.wait([ended, moved], return_when=asyncio.FIRST_COMPLETED)
            return not ended.done()
        finally:
            moved.cancel()
            await _end(process)
            ended.cancel()


async def _end(process: asyncio.subprocess.Process) -> None:
    """The end of its input tells it to end, as it would if this process were killed."""
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def can_index() -> bool:
    """Whether this interpreter has what an indexer needs."""
    from importlib.util import find_spec

    return bool(sys.executable) and all(find_spec(name) is not None for name in ("sqlalchemy", "alembic"))
