"""The client that all http calls of a worker share. Imported where it is opened: httpx is an extra."""

from __future__ import annotations

import asyncio
import functools
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, cast

import certifi
import httpcore
import httpx

from holdfast_executors.http_guard import Guard
from holdfast_executors.http_oauth import Tokens

_KEPT_CONNECTIONS: Final = 100

FAILURES: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
)
"""What a connection may fail with."""


class HttpClient:
    """A pool of connections to guarded addresses, and the tokens that were fetched with it.

    It keeps nothing of one call for another: no cookies, no credentials in its own headers, no proxy or password of the
    environment, which would lead around the guard.

    Args:
        guard: Decides on each connection.
        tls: Judges certificates. Default: the system's authorities and certifi's, read once in a process.
    """

    def __init__(self, guard: Guard, tls: ssl.SSLContext | None = None) -> None:
        self.tokens = Tokens()
        self.web = httpx.AsyncClient(
            transport=_Transport(guard, tls or _authorities()),
            trust_env=False,
            timeout=None,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[HttpClient]:
        """Close the connections at the end."""
        async with self.web:
            yield self


_READING: Final = threading.Lock()


def _authorities() -> ssl.SSLContext:
    """What all clients of the process share: reading the certificates takes as long as a hundred calls. Connections,
    which belong to an event loop, are each client's own."""
    with _READING:
        return _read_authorities()


@functools.cache
def _read_authorities() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=certifi.where())
    return context


class _Transport(httpx.AsyncBaseTransport):
    """httpx's requests through a pool whose connections are guarded. Failures stay httpcore's own."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext) -> None:
        # A slow service must not keep others waiting for a connection: the worker's slots are the limit.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=_KEPT_CONNECTIONS,
            keepalive_expiry=5.0,
            network_backend=_Backend(guard),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        assert isinstance(request.stream, httpx.AsyncByteStream)
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Stream(answer.stream),
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects to the very addresses that were checked. The pool goes on with the name, for `Host` and TLS."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._network = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                return await self._connect(host, port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection after {timeout:g} s") from error

    async def _connect(
        self,
        host: str,
        port: int,
        local_address: str | None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self._guard.addresses(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address: {error}") from error
        failed: httpcore.ConnectError | None = None
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, local_address=local_address, socket_options=socket_options
                )
            except httpcore.ConnectError as error:
                failed = error
        assert failed is not None
        raise failed
