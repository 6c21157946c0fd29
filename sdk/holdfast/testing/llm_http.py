"""The HTTP side of a `FakeLLM`."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from holdfast.spec.cel_values import is_map
from holdfast.testing.llm_answers import LLMAnswer, LLMFault
from holdfast.testing.llm_request import LLMRequest
from holdfast.testing.llm_wire import to_bytes
from holdfast.testing.llm_wire_chat import chat_body, chat_events
from holdfast.testing.llm_wire_responses import responses_body, responses_events

if TYPE_CHECKING:
    from holdfast.testing.fake_llm import FakeLLM

_JSON = "application/json"
_GONE = (BrokenPipeError, ConnectionResetError, TimeoutError)


class LLMServer(ThreadingHTTPServer):
    """Serves each connection on a thread, and can end them all."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """See base class."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """See base class."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what tests of clients do."""

    def end_connections(self) -> None:
        """Wake the threads that wait for a request."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class LLMHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    fake: ClassVar[FakeLLM]

    protocol_version = "HTTP/1.1"
    server_version = "holdfast-fake-llm"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for a head and its body

    def do_GET(self) -> None:
        """Models, and responses in the background."""
        if not self._authorised():
            return
        parts = self._parts()
        models = self.fake.models if self.fake.models is not None else ("fake-model",)
        if parts == ["models"]:
            self._send({"object": "list", "data": [_model(name) for name in models]})
        elif len(parts) == 2 and parts[0] == "models" and (self.fake.models is None or parts[1] in models):
            self._send(_model(parts[1]))
        elif len(parts) == 2 and parts[0] == "responses":
            self._look_up(parts[1], cancel=False)
        else:
            self._unknown()

    def do_DELETE(self) -> None:
        """Forget a response in the background."""
        if not self._authorised():
            return
        parts = self._parts()
        if len(parts) == 2 and parts[0] == "responses" and self.fake.forget(parts[1]):
            self._send({"id": parts[1], "object": "response", "deleted": True})
        else:
            self._unknown()

    def do_POST(self) -> None:
        """Ask the model, or cancel a response in the background."""
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if not self._authorised():
            return
        parts = self._parts()
        if parts == ["chat", "completions"]:
            self._ask("chat", raw)
        elif parts == ["responses"]:
            self._ask("responses", raw)
        elif len(parts) == 3 and parts[0] == "responses" and parts[2] == "cancel":
            self._look_up(parts[1], cancel=True)
        else:
            self._unknown()

    def _ask(self, api: Literal["chat", "responses"], raw: bytes) -> None:
        wanted = "messages" if api == "chat" else "input"
        try:
            body: object = json.loads(raw)
        except ValueError:
            body = None
        if not is_map(body):
            return self._fault(LLMFault.error(400, "We could not parse the JSON body of your request."))
        asked: Mapping[str, Any] = body
        for name in ("model", wanted):
            if not asked.get(name):
                return self._fault(LLMFault.error(400, f"Missing required parameter: '{name}'.", param=name))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = LLMRequest(api=api, body=asked, headers=headers)
        self.fake.requests.append(request)
        limits, limited = self.fake.limiter.take() if self.fake.limiter else ({}, None)
        models = self.fake.models
        if limited is not None:
            outcome: LLMAnswer | LLMFault = limited
        elif models is not None and request.model not in models:
            outcome = LLMFault.no_such_model()
        else:
            outcome = self.fake.outcome(request)
        with contextlib.suppress(*_GONE):
            self._give(outcome, request, limits)
        return None

    def _give(self, outcome: LLMAnswer | LLMFault, request: LLMRequest, limits: Mapping[str, str]) -> None:
        fault = outcome if isinstance(outcome, LLMFault) else None
        request.status = fault.status if fault else 200
        if fault is not None and fault.breaks is None:
            self._fault(fault, limits)
            return
        answer = (
            outcome if isinstance(outcome, LLMAnswer) else LLMAnswer("An answer that goes wrong on its way.")
        )
        if fault is not None and fault.breaks == "hang" and not request.background:
            self.fake.closing.wait()
            self.close_connection = True
            return
        number, created = self.fake.next_number(), int(time.time())
        headers = {**limits, **answer.headers}
        if request.background:
            self._send(self.fake.keep(None if fault else answer, request, number), headers=headers)
        elif request.stream:
            self.fake.pause(answer)
            events = (chat_events if request.api == "chat" else responses_events)(
                answer, request, number, created
            )
            self._stream(events, headers, fault)
        else:
            self.fake.pause(answer)
            make = chat_body if request.api == "chat" else responses_body
            data = to_bytes(make(answer, request, number, created))
            if fault is not None and fault.breaks == "reset":
                self._reset(data)
                return
            self._send_bytes(data[: len(data) // 2] if fault else data, headers=headers)
        if fault is None:
            request.answered_at = time.monotonic()

    def _stream(self, events: Iterable[bytes], headers: Mapping[str, str], fault: LLMFault | None) -> None:
        self._head(200, {"content-type": "text/event-stream; charset=utf-8", **headers})
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        sent = list(events) if fault else events
        if isinstance(sent, list):
            sent = sent[: len(sent) // 2 + 1]
        for data in sent:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        if fault is not None and fault.breaks in ("reset", "truncated"):
            self.close_connection = True  # without the chunk that ends the body
            return
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _reset(self, data: bytes) -> None:
        self._head(200, {"content-type": _JSON, "content-length": str(len(data))})
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        self.close_connection = True

    def _look_up(self, response_id: str, *, cancel: bool) -> None:
        found = self.fake.look_up(response_id, cancel=cancel)
        if found is None:
            self._fault(LLMFault.error(404, f"Response with id '{response_id}' not found."))
        else:
            self._send(found)

    def _authorised(self) -> bool:
        wanted = self.fake.api_key
        if wanted is None or self.headers.get("authorization") == f"Bearer {wanted}":
            return True
        self._fault(LLMFault.unauthorised())
        return False

    def _parts(self) -> list[str]:
        path = urlsplit(self.path).path
        return path.removeprefix("/v1").strip("/").split("/")

    def _unknown(self) -> None:
        path = urlsplit(self.path).path
        message = f"Unknown request URL: {self.command} {path}."
        self._fault(LLMFault.error(404, message, code="unknown_url"))

    def _fault(self, fault: LLMFault, limits: Mapping[str, str] | None = None) -> None:
        self._send_bytes(fault.body, status=fault.status, headers={**(limits or {}), **fault.headers})

    def _send(self, value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._send_bytes(to_bytes(value), headers=headers or {})

    def _send_bytes(self, data: bytes, *, status: int = 200, headers: Mapping[str, str]) -> None:
        self._head(status, {"content-type": _JSON, "content-length": str(len(data)), **headers})
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("x-request-id", f"req_{len(self.fake.requests):06}")
        for name, value in headers.items():
            self.send_header(name, value)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `FakeLLM.requests` says what was asked."""


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "holdfast"}
