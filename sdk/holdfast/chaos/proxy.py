"""A TCP proxy on this machine that disturbs the connections through it, such as those of a worker to Temporal."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Final, Self

from holdfast.chaos.control import check_allowed
from holdfast.chaos.faults import Faults
from holdfast.chaos.plan import Fault, FaultKind

logger = logging.getLogger("holdfast.chaos")

_CHUNK_BYTES: Final = 64 * 1024
_LOOK_SECONDS: Final = 0.5
_DELAYS: Final = 10
"""Under `delay`, what comes is late by this part of the fault's duration."""


class Proxy:
    """Passes bytes between whoever connects to `address` and a server. Use it as an async context manager.

    Args:
        target: `host:port` of the server.
        port: Where it listens, on 127.0.0.1. Default: a free one.
        allow_chaos: Also for a server that is not on this machine.

    Attributes:
        connection_count: How many connections there have been.

    Raises:
        NotAllowed: The server is not on this machine.
        OSError: The port is taken.
    """

    def __init__(self, target: str, *, port: int = 0, allow_chaos: bool = False) -> None:
        check_allowed(target, allow_chaos=allow_chaos)
        host, _, number = target.rpartition(":")
        self._target = (host.strip("[]"), int(number))
        self._port = port
        self._server: asyncio.Server | None = None
        self._fault: Fault | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connection_count = 0

    @property
    def address(self) -> str:
        """`host:port` to connect to."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def disturb(self, fault: Fault) -> None:
        """Let one fault of the network happen; returns when it is over.

        After all but `delay`, connections that were open at its end are cut: their ends know nothing of what was lost.
        """
        logger.warning("chaos: %s of %d connections", fault.kind.value, len(self._open) // 2)
        self._fault = fault
        try:
            if fault.kind is FaultKind.PARTITION:
                self._cut()
            await asyncio.sleep(fault.duration.total_seconds())
        finally:
            self._fault = None
            if fault.kind is not FaultKind.DELAY:
                self._cut()

    async def serve(self, faults: Faults) -> None:
        """Let the faults of a plan and those that are asked for happen, until it is cancelled.

        Args:
            faults: Of the home of the server.
        """
        clock = asyncio.get_running_loop().time
        began, last = clock(), -1
        while True:
            plan = faults.plan
            interval = int((clock() - began) / plan.profile.interval.total_seconds()) if plan else -1
            chosen = faults.of_network(interval if interval > last else -1)
            last = max(last, interval)
            if chosen is not None and await asyncio.to_thread(faults.begin, *chosen):
                await self.disturb(chosen[0])
                await asyncio.to_thread(faults.mended)
            await asyncio.sleep(_LOOK_SECONDS)

    def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            await self._passing(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one of both ends is gone, or the proxy ends: asyncio would report the latter as an error
        finally:
            self._tasks.discard(task)
            self._open.discard(writer)
            writer.transport.abort()

    async def _passing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault is not None and self._fault.kind is FaultKind.PARTITION:
            return
        self.connection_count += 1
        answers, server = await asyncio.open_connection(*self._target)
        self._open.add(server)
        try:
            await asyncio.gather(
                self._pass(reader, server, answers=False), self._pass(answers, writer, answers=True)
            )
        finally:
            self._open.discard(server)
            server.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                fault = self._fault
                if fault is not None and fault.kind is FaultKind.DELAY:
                    await asyncio.sleep(fault.duration.total_seconds() / _DELAYS)
                elif fault is not None and (fault.kind is FaultKind.HALF_OPEN or answers):
                    continue  # what is lost is lost: the connection ends with the fault
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.transport.abort()  # so that the other way ends too
