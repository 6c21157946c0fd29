"""Figures of whole processes: memory of a worker, time to import, time to a first result."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent

_MEMORY = """
import asyncio, resource, sys
from benchmarks.sides import holdfast_side, raw_side
from holdfast import Client

async def main():
    side, address = sys.argv[1:]
    if side == "raw":
        # Only the raw peer's own modules count.
        async with raw_side(address) as peer:
            await asyncio.gather(*(peer.run("chain", 3) for _ in range(100)))
    else:
        async with Client.embedded(address, start=False) as client, holdfast_side(client) as peer:
            await asyncio.gather(*(peer.run("chain", 3) for _ in range(100)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

asyncio.run(main())
"""

_FIRST = """
import asyncio, sys
from benchmarks.holdfast_flows import chain
from holdfast import Client, Worker

async def main():
    async with Client.embedded(sys.argv[1]) as client, Worker(client, [chain]):
        assert await client.run(chain, 1) == 1
        print("done", flush=True)

asyncio.run(main())
"""


def _python(code: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return done.stdout


def memory_kib(side: str, where: str) -> int:
    """The peak resident size of a worker process that has run 100 chains of 3 steps.

    Args:
        side: `raw` or `holdfast`.
        where: The server's address for `raw`, its home for `holdfast`.
    """
    return int(_python(_MEMORY, side, where))


def import_seconds(module: str) -> float:
    """The time of a process that imports a module, with what the bare interpreter takes subtracted."""
    return max(_seconds(f"import {module}") - _seconds("pass"), 1e-6)


def _seconds(code: str) -> float:
    begin = time.perf_counter()
    _python(code)
    return time.perf_counter() - begin


def first_result_seconds(rounds: int = 3) -> float:
    """The median time from starting Python in an empty folder to a first result, the server's start included."""
    times: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-c", _FIRST, f"{folder}/home"], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "done\n"
            times.append(time.perf_counter() - begin)
            process.wait()
            _python(
                "import asyncio, sys; from holdfast.engine.embedded import stop; "
                "from pathlib import Path; asyncio.run(stop(Path(sys.argv[1])))",
                f"{folder}/home",
            )
    return statistics.median(times)
