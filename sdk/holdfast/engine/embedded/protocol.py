"""How clients and a supervisor talk: one JSON object a line over loopback TCP, one version number.

    client      hello {version, nonce}
    supervisor  challenge {version, nonce, proof}    the proof shows that it knows the token of the record
    client      attach {proof, linger_seconds} | info {proof} | stop {proof}
    supervisor  server {state, ...}                  once ready and after every restart
                failed {message}                     no server can be started; the supervisor ends
                stopping {}                          stopped on request: do not bring it back
    client      detach {}                            leave; in memory, the server's end ends the connection

Both sides ignore types they do not know, so a later version can add messages. Either side proves that it
knows the token without sending it: a stranger who listens on the port of a stale record learns nothing and is
not believed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Any, cast

VERSION = 1
MAX_LINE_BYTES = 64 * 1024


def encode(type_: str, **fields: Any) -> bytes:
    """One message as a line."""
    return json.dumps({"type": type_, **fields}).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """The message in a line, `None` if the line is none."""
    try:
        message: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    fields = cast("dict[str, Any]", message)
    return fields if isinstance(fields.get("type"), str) else None


def new_secret() -> str:
    """A token or a nonce."""
    return secrets.token_hex(16)


def prove(token: str, role: str, nonce: str) -> str:
    """The proof that `role` knows the token."""
    return hmac.new(token.encode(), f"{role}:{nonce}".encode(), hashlib.sha256).hexdigest()


def proves(token: str, role: str, nonce: str, proof: object) -> bool:
    """Whether `proof` is the right one."""
    return isinstance(proof, str) and hmac.compare_digest(prove(token, role, nonce).encode(), proof.encode())
