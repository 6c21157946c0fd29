"""Steps that end the process in which they run, or hold it; and neighbours that compute."""

from __future__ import annotations

import ctypes
import os
import time
from datetime import timedelta
from typing import Final

from holdfast import RetryPolicy, step, workflow

ATTEMPTS: Final = 3
POLICY: Final = RetryPolicy(max_attempts=ATTEMPTS, first_delay=timedelta(milliseconds=200))
TIMEOUT: Final = timedelta(seconds=12)
"""Of one attempt: what loops for ever is given up after it."""

CHUNK_BYTES: Final = 64 * 1024 * 1024


def _take(kind: str) -> str:
    match kind:
        case "SystemExit":
            raise SystemExit(3)
        case "os._exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "loop":
            while True:
                pass
        case "loop that holds the GIL":
            ctypes.PyDLL(None).sleep(3600)
        case "recursion":
            return _take(kind)
        case "memory":
            taken = list[bytearray]()
            while True:  # until the process may have no more
                taken.append(bytearray(b"x" * CHUNK_BYTES))
        case _:
            pass
    return kind


KINDS: Final = (
    "SystemExit",
    "recursion",
    "os._exit",
    "segfault",
    "memory",
    "loop",
    "loop that holds the GIL",
)


@step(name="poison.inside", retry=POLICY, timeout=TIMEOUT)
def inside(kind: str) -> str:
    """On a thread of the worker."""
    return _take(kind)


@step(name="poison.contained", process=True, retry=POLICY, timeout=TIMEOUT)
def contained(kind: str) -> str:
    """In a process beside the worker."""
    return _take(kind)


@step(name="poison.compute", process=True)
def compute(seconds: float) -> int:
    """A neighbour in such a process, with the three attempts that every step has."""
    time.sleep(seconds)
    return os.getpid()


@workflow(name="trial.poisoned")
async def poisoned(kind: str, apart: bool) -> str:
    """Calls one of them."""
    return await (contained if apart else inside)(kind)


@workflow(name="trial.computes")
async def computes(seconds: float) -> int:
    """Calls a neighbour."""
    return await compute(seconds)
