"""A client's side of the connection to a supervisor."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.errors import Unavailable

from .home import Home, Record, ServerInfo
from .protocol import MAX_LINE_BYTES, VERSION, decode, encode, new_secret, prove, proves

_HANDSHAKE_SECONDS = 2.0

Wish = Literal["attach", "info", "stop"]


class NotThere(Exception):
    """The record leads to no supervisor of this home."""


@dataclass(frozen=True)
class Connection:
    """An accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def receive(self) -> dict[str, Any] | None:
        """The next message; `None` at the end of the connection."""
        try:
            while line := await self.reader.readline():
                if (message := decode(line)) is not None:
                    return message
        except (OSError, ValueError):
            pass
        return None

    async def until_end(self) -> None:
        """Ignore what comes until the other side ends the connection."""
        while await self.receive() is not None:
            pass

    async def close(self) -> None:
        """End the connection."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


async def connect(home: Home, wish: Wish, **fields: Any) -> Connection | None:
    """Connect to the supervisor that the home's record names and state the wish.

    Returns:
        The connection, or `None` if the record is missing or stale.

    Raises:
        Unavailable: The supervisor speaks another version of the protocol.
    """
    record = Record.read(home.record)
    if record is None or not record.live:
        return None
    writer = None
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", record.control_port, limit=MAX_LINE_BYTES
            )
            nonce = new_secret()
            writer.write(encode("hello", version=VERSION, nonce=nonce))
            writer.write(_answer(record, home, nonce, await reader.readline(), wish, fields))
            await writer.drain()
    except (OSError, TimeoutError, ValueError, NotThere):
        if writer is not None:
            writer.close()
        return None
    except BaseException:
        if writer is not None:
            writer.close()
        raise
    return Connection(reader, writer)


def ask(home: Home) -> dict[str, Any] | None:
    """The supervisor's answer to `info`, without an event loop; `None` if there is no supervisor."""
    record = Record.read(home.record)
    if record is None or not record.live:
        return None
    try:
        with (
            socket.create_connection(("127.0.0.1", record.control_port), _HANDSHAKE_SECONDS) as connection,
            connection.makefile("rwb") as stream,
        ):
            nonce = new_secret()
            stream.write(encode("hello", version=VERSION, nonce=nonce))
            stream.flush()
            stream.write(_answer(record, home, nonce, stream.readline(MAX_LINE_BYTES), "info", {}))
            stream.flush()
            return decode(stream.readline(MAX_LINE_BYTES))
    except (OSError, ValueError, NotThere, Unavailable):
        return None


def _answer(record: Record, home: Home, nonce: str, line: bytes, wish: Wish, fields: dict[str, Any]) -> bytes:
    challenge = decode(line)
    if challenge is None or not isinstance(challenge.get("nonce"), str):
        raise NotThere
    if not proves(record.token, "supervisor", nonce, challenge.get("proof")):
        raise NotThere
    if challenge.get("version") != VERSION:
        raise Unavailable(
            f"The server of {home.root} is run by another version of Holdfast "
            f"(process {record.supervisor_pid}). End its programs, or that process, and start again."
        )
    return encode(wish, proof=prove(record.token, "client", challenge["nonce"]), **fields)


def info_of(message: dict[str, Any], home: Home, *, in_memory: bool = False) -> ServerInfo:
    """What a `server` message in state `ready` says."""
    return ServerInfo(
        address=str(message["address"]),
        namespace="default",
        ui_url=f"http://127.0.0.1:{int(message['ui_port'])}",
        home=None if in_memory else home.root,
        blobs=home.blobs,
        server_pid=int(message["server_pid"]),
        supervisor_pid=int(message["supervisor_pid"]),
    )
