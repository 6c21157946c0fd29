"""The world outside: a process that notes every effect that steps have on it, and outlives whatever is killed.

    python -m tests.crash.sink FILE

It prints its port. Each line that it takes is one effect as JSON; it is answered once it is written.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast import step_info

PORT_VARIABLE = "CRASH_SINK"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one attempt of a step did at one moment."""

    phase: str
    """`start`, or `end` where the attempt came to its end."""

    run: str
    step: str
    label: str
    """Which piece of work of the run it is."""

    attempt: int
    key: str
    """The idempotency key that it gave."""

    pid: int
    at: float = 0.0
    """When it came, by the sink's wall clock, which is also that of Temporal's server."""


class Outside:
    """A connection to the sink, which the steps of one process share."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def tell(self, phase: str, label: str) -> None:
        """An effect of the current step; it has happened when this returns."""
        info = step_info()
        effect = Effect(
            phase=phase, run=info.run_id, step=info.step, label=label, attempt=info.attempt,
            key=info.idempotency_key, pid=os.getpid(),
        )  # fmt: skip
        async with self._lock:
            if self._streams is None:
                port = int(os.environ[PORT_VARIABLE])
                self._streams = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = self._streams
            # A step that is cancelled here leaves an answer behind, which the next must not take for its own.
            self._streams = None
            writer.write(json.dumps(asdict(effect)).encode() + b"\n")
            if await reader.readline() != b"noted\n":
                raise AssertionError("the sink is gone: the record of effects is not whole")
            self._streams = reader, writer


def read_effects(file: Path) -> Iterator[Effect]:
    """All effects, in the order in which they came."""
    with file.open("rb") as lines:
        for line in lines:
            yield Effect(**json.loads(line))


async def _serve(file: Path) -> None:
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # its sender was killed
            while (line := await reader.readline()).endswith(b"\n"):
                effect = {**json.loads(line), "at": time.time()}
                os.write(out, json.dumps(effect).encode() + b"\n")
                writer.write(b"noted\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
