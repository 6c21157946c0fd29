"""The codec endpoint, so that Temporal's UI and CLI can read encoded and stored payloads.

It speaks Temporal's codec server protocol: `POST /encode`, `/decode` and `/download`, each also below a
namespace. Whoever reaches it can read every payload, so it serves this machine only unless it has a token.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import socket
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from holdfast.engine.data.refdoc import root_ref
from holdfast.engine.data.refs import genuine_refs
from holdfast.engine.data.step_data import StepData
from holdfast.errors import InvalidConfiguration

DEFAULT_PORT = 8234
DEFAULT_ORIGINS = ("http://127.0.0.1:8233", "http://localhost:8233")
MAX_BODY_BYTES = 16 * 1024 * 1024
SHOWN_BYTES = 1024 * 1024
"""Stored payloads over this size are shown as the reference they are; `/download` reads them."""

_SOCKET_TIMEOUT_SECONDS = 30
_POLL_SECONDS = 0.05
_log = logging.getLogger("holdfast.codec_server")


class CodecServer:
    """An HTTP server on threads of its own.

    Args:
        data_converter: As `make_data_converter` makes it, with the keys and the storage of the workers.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        token: What a caller must send as `Authorization: Bearer <token>`. `None` asks for nothing.
        origins: The web pages that may call: where Temporal's UI is.

    Raises:
        InvalidConfiguration: `host` is reachable from other machines and there is no token.
        OSError: The port is taken.
    """

    def __init__(
        self,
        data_converter: DataConverter,
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        token: str | None = None,
        origins: Sequence[str] = DEFAULT_ORIGINS,
    ) -> None:
        if not token and not _is_loopback(host):
            raise InvalidConfiguration(
                f"A codec server on {host!r} would show every payload to the network. Give it a token."
            )
        service = _Service(data_converter)

        class Handler(_Handler):
            codec = service
            bearer = f"Bearer {token}" if token else None
            allowed_origins = frozenset(origin.rstrip("/") for origin in origins)

        self._server = (_ServerV6 if ":" in host else ThreadingHTTPServer)((host, port), Handler)
        self._thread: threading.Thread | None = None
        self.host, self.port = host, self._server.server_port

    @property
    def url(self) -> str:
        """What to give to `temporal --codec-endpoint` and to the UI."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def serve_forever(self) -> None:
        """Serve until `close` is called from another thread."""
        self._server.serve_forever(poll_interval=_POLL_SECONDS)

    def close(self) -> None:
        """Stop serving and free the port."""
        if self._thread:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> CodecServer:
        self._thread = threading.Thread(target=self.serve_forever, name="holdfast-codec-server", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _ServerV6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


class _Service:
    def __init__(self, data_converter: DataConverter) -> None:
        self._converter = data_converter
        self._data = StepData(data_converter)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return await self._converter.encode([RawValue(payload) for payload in payloads])

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode what may be shown at once."""
        return [
            payload if _stored_bytes(payload) > SHOWN_BYTES else await self._readable(payload)
            for payload in payloads
        ]

    async def decode_only(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode, and leave references as they are."""
        return [payload if _stored_bytes(payload) else await self._readable(payload) for payload in payloads]

    async def download(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode everything, large step results included."""
        found: list[Payload] = []
        for payload in payloads:
            decoded = await self._decoded(payload)
            ref = root_ref(decoded, genuine_refs(decoded))
            found.append(await self._data.fetch(ref.sha256) if ref else decoded)
        return found

    async def _readable(self, payload: Payload) -> Payload:
        try:
            return await self._decoded(payload)
        except Exception as error:  # noqa: BLE001 - one payload that cannot be read must not hide the others
            _log.warning("A payload stays encoded: %s", error)
            return payload

    async def _decoded(self, payload: Payload) -> Payload:
        [raw] = await self._converter.decode([payload], [RawValue])
        found: Payload = raw.payload
        return found


class _Handler(BaseHTTPRequestHandler):
    codec: ClassVar[_Service]
    bearer: ClassVar[str | None]
    allowed_origins: ClassVar[frozenset[str]]

    protocol_version = "HTTP/1.1"
    timeout = _SOCKET_TIMEOUT_SECONDS

    def do_OPTIONS(self) -> None:
        """Answer a browser that asks whether it may call."""
        allowed = self._origin_allowed()
        self._answer(HTTPStatus.NO_CONTENT if allowed else HTTPStatus.FORBIDDEN)

    def do_POST(self) -> None:
        """Encode, decode or download."""
        try:
            self._answer(HTTPStatus.OK, self._handle())
        except _Refused as refused:
            self.close_connection = True  # the body may not have been read
            self._answer(refused.status, json.dumps({"message": refused.message}))

    def _handle(self) -> str:
        if not self._origin_allowed():
            raise _Refused(
                HTTPStatus.FORBIDDEN, "This origin may not call; add it to the codec server's origins."
            )
        if self.bearer and not hmac.compare_digest(
            self.headers.get("Authorization", "").encode(), self.bearer.encode()
        ):
            raise _Refused(HTTPStatus.UNAUTHORIZED, "The bearer token is missing or wrong.")
        parts = urlsplit(self.path)
        preserve = parse_qs(parts.query).get("preserveStorageRefs") == ["true"]
        work = {
            "encode": self.codec.encode,
            "decode": self.codec.decode_only if preserve else self.codec.decode,
            "download": self.codec.download,
        }.get(parts.path.rstrip("/").rpartition("/")[2])
        if work is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "Paths are /encode, /decode and /download.")
        try:
            payloads = Parse(self._body(), Payloads())
        except (ParseError, UnicodeDecodeError, RecursionError) as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"The body is not JSON of Payloads: {error}") from error
        try:
            answer = asyncio.run(work(payloads.payloads))
        except Exception as error:  # the edge of the process: codecs and storages raise anything
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        return MessageToJson(Payloads(payloads=answer), indent=None)

    def _body(self) -> bytes:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing.") from None
        if not 0 <= length <= MAX_BODY_BYTES:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {MAX_BODY_BYTES} bytes are taken.")
        return self.rfile.read(length)

    def _origin_allowed(self) -> bool:
        origin = self.headers.get("Origin")
        return origin is None or origin in self.allowed_origins

    def _answer(self, status: HTTPStatus, body: str = "") -> None:
        data = body.encode()
        self.send_response(status)
        origin = self.headers.get("Origin")
        if origin in self.allowed_origins:
            self.send_header("Access-Control-Allow-Origin", str(origin))
            self.send_header("Access-Control-Allow-Credentials", "true")
            self.send_header("Access-Control-Allow-Methods", "POST, OPTIONS")
            self.send_header(
                "Access-Control-Allow-Headers",
                "Content-Type, X-Namespace, Authorization, Authorization-Extras",
            )
        self.send_header("Vary", "Origin")
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Log through `logging` instead of to stderr."""
        _log.debug(format, *args)


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def _stored_bytes(payload: Payload) -> int:
    """The size of what a claim-check reference refers to; 0 if the payload is none."""
    return sum(external.size_bytes for external in payload.external_payloads)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
