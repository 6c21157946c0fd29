"""Choosing ports on 127.0.0.1."""

from __future__ import annotations

import random
import socket
import sys

PREFERRED_PORT = 7233
PREFERRED_UI_PORT = 8233
SPAN = 200
"""How many ports from the preferred one on are tried."""


class Reservation:
    """A port for a server of ours. On Linux no other supervisor can choose it as long as this lives.

    There a socket that is bound but does not listen keeps strangers off, while the server, which like every server
    sets SO_REUSEADDR, may listen. So a port survives the moment in which its server is being restarted.
    """

    def __init__(self, holder: socket.socket) -> None:
        self.port: int = holder.getsockname()[1]
        self._holder = holder
        if sys.platform == "linux":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            holder.close()

    def close(self) -> None:
        """Give the port up."""
        self._holder.close()


def reserve(preferred: int, span: int = SPAN, *, own: int = 0) -> Reservation | None:
    """The first free port from `preferred` on, `None` when `span` ports are all in use.

    Args:
        preferred: Where to begin.
        span: How many ports to try.
        own: A port to take before all others, even if connections of a former server are still winding down.
    """
    if own and (holder := _bind(own, own=True)) is not None:
        return Reservation(holder)
    for port in range(preferred, min(preferred + span, 65536)):
        if (holder := _bind(port)) is not None:
            return Reservation(holder)
    return None


def _bind(port: int, *, own: bool = False) -> socket.socket | None:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if own and sys.platform != "win32":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Without that option also a port counts as taken whose server is gone for a moment.
        holder.bind(("127.0.0.1", port))
    except OSError:
        holder.close()
        return None
    return holder


def private_start() -> int:
    """Where to look for a port that nobody types.

    Below the ranges from which systems take the ports of outgoing connections: there a client that keeps
    trying to reach a stopped server can be given that very port and connect to itself.
    """
    return random.randrange(20000, 30000)
