"""The supervisor's side of the connections: who uses the server, and what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from .protocol import MAX_LINE_BYTES, VERSION, decode, encode, new_secret, prove, proves

_HANDSHAKE_SECONDS = 5.0


class Users:
    """Everyone who is connected. The kernel ends the connection of a killed process, so none is forgotten."""

    def __init__(self, token: str, *, on_stop: Callable[[], None]) -> None:
        self._token = token
        self._on_stop = on_stop
        self._listener: asyncio.Server | None = None
        self._attached: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._state: bytes | None = None
        self._idle_from = 0.0
        self._came = asyncio.Event()
        self._changed = asyncio.Event()
        self.served = False
        """Whether a server has been up at all."""

    async def listen(self) -> int:
        """Accept connections; returns the port."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=MAX_LINE_BYTES)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    def refuse_new(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()

    def close(self) -> None:
        """End every connection."""
        for writer in self._connections:
            writer.close()

    def expect(self, seconds: float) -> None:
        """Do not count as idle before somebody came, for this long."""
        self._idle_from = time.monotonic() + seconds

    def idle(self) -> bool:
        """Whether nobody is attached and the time that the last ones asked for is over."""
        return not self._attached and time.monotonic() >= self._idle_from

    async def changed(self, seconds: float) -> None:
        """Wait until somebody leaves, at most `seconds`."""
        self._changed.clear()
        if not self._attached:
            seconds = min(seconds, max(0.0, self._idle_from - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    def tell(self, type_: str, **fields: Any) -> None:
        """Send a message to everyone attached."""
        for writer in self._attached:
            writer.write(encode(type_, **fields))

    def server_up(self, **where: Any) -> None:
        """Tell everyone, and everyone who comes later, where the server is."""
        self.served = True
        self._state = encode("server", state="ready", **where)
        for writer in self._attached:
            writer.write(self._state)

    def server_down(self) -> None:
        """Tell everyone that the server is being restarted."""
        self._state = None
        self.tell("server", state="restarting")

    async def give_up(self, message: str) -> None:
        """Tell everyone that there will be no server, the client that started us too, if it comes in time."""
        self._state = encode("failed", message=message)
        for writer in self._attached:
            writer.write(self._state)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), max(0.0, self._idle_from - time.monotonic()))

    def request_stop(self) -> None:
        """End the supervisor and tell everyone that this is wanted."""
        self.tell("stopping")
        self._on_stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        linger = 0.0
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                wish = await self._shake_hands(reader, writer)
            if wish is None:
                return
            if wish["type"] == "info":
                writer.write(self._state or encode("server", state="starting"))
                await writer.drain()
                return
            if wish["type"] not in {"attach", "stop"}:
                return
            if not self._came.is_set():
                self._came.set()
                self._idle_from = 0.0
            self._attached.add(writer)
            if wish["type"] == "stop":
                self.request_stop()
            else:
                linger = _seconds(wish.get("linger_seconds"))
                if self._state is not None:
                    writer.write(self._state)
            while line := await reader.readline():
                message = decode(line)
                if message is not None and message["type"] == "detach":
                    # The connection stays: its end tells who left that the supervisor has gone as well.
                    self._leave(writer, linger)
        except (OSError, ValueError, TimeoutError):
            # A line that is too long is a ValueError; whatever a connection does wrong ends that connection.
            pass
        finally:
            self._leave(writer, linger)
            self._connections.discard(writer)
            writer.close()

    def _leave(self, writer: asyncio.StreamWriter, linger: float) -> None:
        if writer in self._attached:
            self._attached.discard(writer)
            self._idle_from = max(self._idle_from, time.monotonic() + linger)
            self._changed.set()

    async def _shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> dict[str, Any] | None:
        hello = decode(await reader.readline())
        if hello is None or hello["type"] != "hello" or not isinstance(hello.get("nonce"), str):
            return None
        nonce = new_secret()
        proof = prove(self._token, "supervisor", hello["nonce"])
        writer.write(encode("challenge", version=VERSION, nonce=nonce, proof=proof))
        wish = decode(await reader.readline())
        if wish is None or not proves(self._token, "client", nonce, wish.get("proof")):
            return None
        return wish


def _seconds(value: object) -> float:
    return min(max(float(value), 0.0), 86400.0) if isinstance(value, (int, float)) else 0.0
