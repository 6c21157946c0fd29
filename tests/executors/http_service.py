"""A service on 127.0.0.1 that does what a test says, byte by byte if need be."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]


Handler = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Service:
    """A running service.

    Attributes:
        asked: All requests so far.
        connections: How many were opened.
    """

    handler: Handler
    scheme: str = "http"
    port: int = 0
    asked: list[Asked] = field(default_factory=list[Asked])
    connections: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self._open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await _body(reader, headers)
                asked = Asked(method=method, target=target, headers=headers, body=body)
                self.asked.append(asked)
                await self.handler(asked, writer)
                await writer.drain()
                if writer.is_closing():
                    break
        writer.close()
        self._open.discard(writer)

    def hang_up(self) -> None:
        """End what is still open."""
        for writer in list(self._open):
            writer.transport.abort()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


@asynccontextmanager
async def serving(
    handler: Handler, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[Service]:
    """A service, by default on a free port."""
    service = Service(handler, "https" if tls else "http")
    server = await asyncio.start_server(service.serve, host, port, ssl=tls)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        service.hang_up()
        await asyncio.sleep(0)


def reply(body: bytes | str | Any = b"", status: int = 200, *, close: bool = False, **headers: str) -> bytes:
    """An answer with its length; what is neither bytes nor text is JSON."""
    kind = {}
    if isinstance(body, str):
        body, kind = body.encode(), {"Content-Type": "text/plain; charset=utf-8"}
    elif not isinstance(body, bytes):
        body, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = {"Content-Length": str(len(body)), **kind, **given}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode("latin-1") + body


def always(answer: bytes) -> Handler:
    """The same answer to everything."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return handler


def in_turn(*answers: bytes) -> Handler:
    """One answer after the other; the last one stays."""
    left = list(answers)

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return handler


def by_path(answers: dict[str, bytes]) -> Handler:
    """Answers by path, 404 elsewhere."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.get(asked.path, reply("no such page", 404)))

    return handler


def cut_off(sent: bytes, *, reset: bool = False) -> Handler:
    """Sends a part of an answer and ends the connection, or resets it."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        if reset:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()

    return handler


def dripping(sent: bytes, each: bytes, seconds: float) -> Handler:
    """Begins an answer, and goes on with a few bytes at a time until the other side leaves."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        while not writer.is_closing():
            await writer.drain()
            await asyncio.sleep(seconds)
            writer.write(each)

    return handler
