"""Figures of whole processes: memory of a worker, time to import, time to a first result."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent

_RAW_MEMORY = """
import asyncio, os, sys
from benchmarks.raw_side import raw_side

async def main():
    async with raw_side(sys.argv[1]) as peer:
        await asyncio.gather(*(peer.run("chain", 3) for _ in range(100)))

asyncio.run(main())
assert "holdfast" not in sys.modules
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), flush=True)
os._exit(0)  # temporalio's native part sometimes crashes at the end of a process
"""

_MEMORY = """
import asyncio, sys
from benchmarks.holdfast_side import holdfast_side
from holdfast import Client

async def main():
    async with Client.embedded(sys.argv[1], start=False) as client, holdfast_side(client) as peer:
        await asyncio.gather(*(peer.run("chain", 3) for _ in range(100)))

asyncio.run(main())
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
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


def raw_memory_kib(address: str) -> int:
    """The peak resident size of a raw worker process that has run 100 chains of 3 steps. Linux only."""
    return int(_python(_RAW_MEMORY, address))


def memory_kib(home: Path) -> int:
    """The same for Holdfast."""
    return int(_python(_MEMORY, str(home)))


def import_seconds(module: str) -> float:
    """The processor time that importing a module takes in a new process."""
    code = f"import time; begin = time.process_time(); import {module}; print(time.process_time() - begin)"
    return float(_python(code))


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
