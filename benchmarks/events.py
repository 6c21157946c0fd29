"""How soon a listener in another process hears of an event, on both databases.

    python -m benchmarks.events [--count 200]

The writer is this process. From commit to listener: an event is published every 50 ms; the reader, a process of its
own, notes when it has it. End to end: runs of one step, and then of ten with a pause after each, go through an embedded
server, a worker and the home's indexer; from the end of a step or a run, as Temporal's history has it, to the listener.
All clocks are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from tests.store.postgres import Postgres, programs

from benchmarks.holdfast_flows import chain, increment
from holdfast import Client, Unavailable, Worker, workflow
from holdfast.engine.embedded import stop

ROOT = Path(__file__).parent.parent
_TARGET_MS = 250
_NOTICED_SECONDS = 3.0
"""After this time an indexer knows that somebody listens."""

_PACED_STEPS = 10


@workflow
async def paced(count: int) -> int:
    """`count` steps, with a pause after each."""
    for number in range(count):
        await increment(number)
        await asyncio.sleep(0.4)
    return count


async def _listen(home: str, channel: str, count: int) -> None:
    async with Client.embedded(home, start=False) as client:
        kinds = ["published", "step.completed", "workflow.completed"]
        while True:
            try:
                listening = client.events.listen(
                    channels=[channel], kinds=kinds, after=await client.events.cursor()
                )
                await client.events.list(channels=[channel], limit=1)
                break
            except Unavailable:  # the indexer has not begun yet
                await asyncio.sleep(0.2)
        hearing = asyncio.ensure_future(anext(listening))
        print("ready", flush=True)
        for _ in range(count):
            event = await hearing
            heard = time.time()
            hearing = asyncio.ensure_future(anext(listening))
            begun = event.payload["committed"] if event.kind == "published" else event.at.timestamp()
            print(event.kind, 1000 * (heard - begun), flush=True)
        os._exit(0)


@contextlib.contextmanager
def _reader(home: Path, channel: str, count: int) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.events", "--listen", str(home), channel, str(count)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _until_ready(reader: subprocess.Popen[str]) -> None:
    assert reader.stdout is not None
    line = await asyncio.to_thread(reader.stdout.readline)
    assert line == "ready\n", line
    await asyncio.sleep(1)


async def _heard(reader: subprocess.Popen[str]) -> dict[str, list[float]]:
    output, _ = await asyncio.to_thread(reader.communicate, timeout=120)
    found: dict[str, list[float]] = {}
    for line in output.splitlines():
        kind, milliseconds = line.split()
        found.setdefault(kind, []).append(float(milliseconds))
    return found


def _told(name: str, found: Sequence[float], *, target: int | None = None) -> None:
    ordered = sorted(found)
    p50, p95 = (ordered[min(int(q * len(ordered)), len(ordered) - 1)] for q in (0.5, 0.95))
    verdict = "" if target is None else f"   {'ok' if p95 < target else 'MISS'}: wanted under {target} ms"
    print(f"  {name:<34} p50 {p50:7.0f} ms   p95 {p95:7.0f} ms   of {len(ordered)}{verdict}", flush=True)


async def _measure(name: str, home: Path, count: int) -> None:
    print(name, flush=True)
    async with Client.embedded(home) as client:
        with _reader(home, "bench", count) as reader:
            await _until_ready(reader)
            for _ in range(count):
                # The commit is what comes last in a publish: at most that long before the return.
                begin = time.time()
                await client.events.publish("bench", {"committed": begin})
                await asyncio.sleep(0.05)
            heard = await _heard(reader)
        _told("publish to listener", heard["published"], target=_TARGET_MS)
        runs = max(count // 5, 10)
        with _reader(home, "runs", 2 * runs) as reader:
            await _until_ready(reader)
            await asyncio.sleep(_NOTICED_SECONDS)
            async with Worker(client, [chain]):
                for _ in range(runs):
                    await client.run(chain, 1)
                    await asyncio.sleep(0.2)
                heard = await _heard(reader)
        _told("end of a step to listener", heard["step.completed"], target=_TARGET_MS)
        _told("end of a run to listener", heard["workflow.completed"], target=_TARGET_MS)
        runs = max(runs // _PACED_STEPS, 2)
        with _reader(home, "runs", runs * (_PACED_STEPS + 1)) as reader:
            await _until_ready(reader)
            await asyncio.sleep(_NOTICED_SECONDS)
            async with Worker(client, [paced]):
                for _ in range(runs):
                    await client.run(paced, _PACED_STEPS)
                heard = await _heard(reader)
        _told("end of a step in an open run", heard["step.completed"], target=_TARGET_MS)


async def _main(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="holdfast-events-") as name:
        os.chmod(name, 0o755)  # PostgreSQL runs as another user
        folder = Path(name)
        for database in ("SQLite", "PostgreSQL"):
            home = folder / database
            server: Postgres | None = None
            if database == "PostgreSQL":
                if programs() is None:
                    print("no wheel with PostgreSQL for this machine")
                    return
                server = Postgres(folder / "pg", settings=())
                server.start()
                os.environ["HOLDFAST_DATABASE_URL"] = server.create("events")
            try:
                await _measure(database, home, count)
            finally:
                await stop(home)
                if server is not None:
                    server.stop()
                    shutil.rmtree(server.folder, ignore_errors=True)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.events", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="how many events (default 200)")
    parser.add_argument("--listen", nargs=3, metavar=("HOME", "CHANNEL", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listen:
        home, channel, count = options.listen
        asyncio.run(_listen(home, channel, int(count)))
    else:
        asyncio.run(_main(options.count))


if __name__ == "__main__":
    main()
