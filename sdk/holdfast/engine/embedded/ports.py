"""Choosing ports on 127.0.0.1."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Iterable

PREFERRED_PORT = 7233
PREFERRED_UI_PORT = 8233
SPAN = 200
"""How many ports from the preferred one on are tried."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            # Ports in TIME_WAIT count as free, as they do for the server.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(preferred: int, span: int = SPAN, *, taken: Iterable[int] = ()) -> int | None:
    """The first free port from `preferred` on, `None` when `span` ports are all in use."""
    avoid = set(taken)
    for port in range(preferred, min(preferred + span, 65536)):
        if port not in avoid and is_free(port):
            return port
    return None


def private_start() -> int:
    """Where to look for a port that nobody types.

    Below the ranges from which systems take the ports of outgoing connections: there a client that keeps
    trying to reach a stopped server can be given that very port and connect to itself.
    """
    return random.randrange(20000, 30000)
