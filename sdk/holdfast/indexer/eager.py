"""Reads runs of which workers have just told, between the rounds: see `holdfast.engine.telemetry.hints`.

In a home they tell it on a socket; otherwise PostgreSQL passes it on.

Only while somebody listens. What it does not come to, the rounds do: it is at work for half of the time at most, and
forgets everything when too much is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client

from holdfast.engine.telemetry.hints import addressed, decode
from holdfast.errors import NotFound
from holdfast.indexer.leases import shard_of
from holdfast.indexer.reading import look, read_described
from holdfast.indexer.round import Counts, Round
from holdfast.indexer.visibility import is_open
from holdfast.store.database import Database
from holdfast.store.push import hear_hints
from holdfast.store.rows import IndexedRun

log = logging.getLogger("holdfast.indexer")

SETTLE_SECONDS: Final = 0.02
"""A hint comes just before the server has recorded what it is about."""

AGAIN_SECONDS: Final = (0.08, 0.3)
"""An open run is looked at again so long after: what a hint was about may have been recorded late, and what follows
from it, as a request for an approval, comes later."""

MAX_WAITING: Final = 256
"""With more runs to look at, an engine is at full speed: the rounds read them together, which costs less."""

_AT_A_TIME: Final = 16
_PART: Final = 5
"""A run is looked at again after so many times what it took: long histories are read as a whole each time."""

_BACK_OFF_SECONDS: Final = 2.0


@dataclass(kw_only=True)
class _Looks:
    """When a run is looked at, and what was seen there."""

    run_id: str
    execution_id: str
    at: float
    earliest: float = 0.0
    left: int = len(AGAIN_SECONDS)
    seen: object = None


class Eager(asyncio.DatagramProtocol):
    """Hears hints and reads what they name.

    Args:
        client: Temporal's own client.
        database: The store.
        counts: Where to count.
        folder: Where it opens its socket; made if it is missing. Default: there is no home.
    """

    def __init__(
        self, client: Client, database: Database, *, counts: Counts, folder: Path | None = None
    ) -> None:
        self._client = client
        self._database = database
        self._counts = counts
        self._path = folder and folder / uuid4().hex[:12]
        self._transport: asyncio.DatagramTransport | None = None
        self._notices: asyncio.Task[None] | None = None
        self._shards: frozenset[int] = frozenset()
        self._looks: dict[str, _Looks] = {}
        self._ended: dict[str, None] = {}
        """Executions that ended, the latest, of which there is nothing more to say."""

        self._news = asyncio.Event()

    async def serve(self, shards: frozenset[int], *, wanted: bool) -> None:
        """Begin or cease to hear, as long as `run` does.

        Args:
            shards: Which runs are this indexer's.
            wanted: Whether anybody listens to events.
        """
        self._shards = shards
        if not wanted:
            self.close()
        elif self._transport is not None or self._notices is not None:
            return
        elif self._path is None:
            if not self._database.is_sqlite:
                self._notices = asyncio.create_task(hear_hints(self._database, self.hear))
        elif hasattr(socket, "AF_UNIX"):
            try:
                self._transport = await self._opened(self._path)
            except OSError as error:  # the path may be too long, or the disk full: rounds do without
                log.debug("no hints are heard: %s", error)

    async def _opened(self, path: Path) -> asyncio.DatagramTransport:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            with addressed(path) as address:
                heard.bind(address)
            os.chmod(path, 0o600)
            made, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=heard)
        except BaseException:
            heard.close()
            raise
        return made

    def close(self) -> None:
        """Cease to hear."""
        if self._notices is not None:
            self._notices.cancel()
            self._notices = None
        if self._transport is not None and self._path is not None:
            self._transport.close()
            self._transport = None
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """See base class."""
        self.hear(data)

    def hear(self, message: bytes) -> None:
        """Take what somebody has sent, if it is a message."""
        for run_id, execution_id in decode(message):
            if shard_of(run_id) in self._shards:
                self.hint(run_id, execution_id)

    def hint(self, run_id: str, execution_id: str) -> None:
        """There is something new in an execution, or will be in a moment."""
        if execution_id in self._ended:
            return
        if len(self._looks) >= MAX_WAITING:
            self._looks.clear()
        due = time.monotonic() + SETTLE_SECONDS
        known = self._looks.get(execution_id)
        if known is None:
            self._looks[execution_id] = _Looks(run_id=run_id, execution_id=execution_id, at=due)
        else:
            known.at = min(known.at, max(due, known.earliest))
            known.left = len(AGAIN_SECONDS)
        self._news.set()

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while True:
                now = time.monotonic()
                ready = [known for known in self._looks.values() if known.at <= now][:_AT_A_TIME]
                if not ready:
                    self._news.clear()
                    wake = min((known.at for known in self._looks.values()), default=None)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), None if wake is None else wake - now)
                    continue
                try:
                    await self._read(ready)
                    await asyncio.sleep(time.monotonic() - now)
                except Exception as error:  # one that ends would be noticed by nobody
                    log.debug("hints are not followed", exc_info=error)
                    self._looks.clear()
                    await asyncio.sleep(_BACK_OFF_SECONDS)
        finally:
            self.close()

    async def _read(self, ready: list[_Looks]) -> None:
        for known in ready:
            known.at = math.inf
        reader = Round(self._client, self._database, self._shards, counts=self._counts)
        await reader.read([partial(self._look, known) for known in ready])
        now = time.monotonic()
        for known in ready:
            if known.at < math.inf:  # told of meanwhile
                known.at = max(known.at, known.earliest)
                continue
            if not known.left:
                self._looks.pop(known.execution_id, None)
                continue
            known.at = max(now + AGAIN_SECONDS[-known.left], known.earliest)
            known.left -= 1

    async def _look(self, known: _Looks) -> IndexedRun | None:
        begun = time.monotonic()
        try:
            execution = WorkflowExecution(workflow_id=known.run_id, run_id=known.execution_id)
            description = await look(self._client, execution)
            seen = _state(description)
            if seen == known.seen:
                return None
            read = await read_described(self._client, description)
        except NotFound:
            self._forget(known)
            return None
        known.seen = seen
        now = time.monotonic()
        known.earliest = now + _PART * (now - begun)
        if read.run.closed is not None:
            self._forget(known)
        return read

    def _forget(self, known: _Looks) -> None:
        known.left = 0
        self._looks.pop(known.execution_id, None)
        if len(self._ended) >= MAX_WAITING:
            del self._ended[next(iter(self._ended))]
        self._ended[known.execution_id] = None


def _state(description: DescribeWorkflowExecutionResponse) -> object:
    """What differs where there is something new."""
    info = description.workflow_execution_info
    pending = [(one.activity_id, one.attempt, one.state) for one in description.pending_activities]
    return is_open(info), info.history_length, pending
