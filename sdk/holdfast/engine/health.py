"""A worker's health over HTTP: `/health` answers while the process lives, `/ready` while it polls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast.errors import InvalidConfiguration

_MAX_REQUEST_BYTES = 8192


class HealthServer:
    """Two fixed answers on 127.0.0.1.

    Args:
        port: 0 picks a free one.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._ready: Callable[[], bool] = lambda: False
        self._server: asyncio.Server | None = None

    async def start(self, ready: Callable[[], bool]) -> None:
        """Listen.

        Raises:
            InvalidConfiguration: The port is taken.
        """
        self._ready = ready
        try:
            self._server = await asyncio.start_server(
                self._answer, "127.0.0.1", self.port, limit=_MAX_REQUEST_BYTES
            )
        except OSError as exc:
            raise InvalidConfiguration(f"health_port={self.port} cannot be used: {exc.strerror}") from exc
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                request = await reader.readuntil(b"\r\n")
                while (await reader.readuntil(b"\r\n")) != b"\r\n":
                    pass
            path = request.split(b" ")[1:2]
            if path == [b"/health"]:
                status, body = "200 OK", "alive"
            elif path == [b"/ready"]:
                status, body = (
                    ("200 OK", "ready") if self._ready() else ("503 Service Unavailable", "not polling")
                )
            else:
                status, body = "404 Not Found", "try /health or /ready"
            head = (
                f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n"
            )
            writer.write((head + body).encode())
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a caller that hangs up or sends garbage gets no answer
        finally:
            writer.close()
