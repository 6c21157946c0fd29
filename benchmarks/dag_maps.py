"""Maps over many items and the state of a large run: time, memory of the worker, histories and answers to queries."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dag_graphs import random_plan
from benchmarks.dag_ours import additions, notes
from benchmarks.dag_raw import RAW_QUEUE, RawMap
from benchmarks.ledger import LEDGER
from benchmarks.processes import ROOT
from benchmarks.report import Verdict, at_least, at_most
from holdfast import Client, Run

QUEUE = "bench-maps"


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What one large map took."""

    seconds: float
    growth_mib: float
    """Of the worker's resident size, the largest seen against that before."""
    longest: int
    """Events of the longest history, those of the children included."""
    query_ms: float
    """The 95th percentile of state queries to the parent while it ran."""
    wrong: int
    """Items that were not done exactly once."""


class _Process:
    """The worker process and the file to which its steps write."""

    def __init__(self, home: Path) -> None:
        self.ledger = home.parent / "ledger.txt"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.dag_worker", str(home), QUEUE],
            cwd=ROOT,
            env={**os.environ, LEDGER: str(self.ledger)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"serving\n"

    def rss_mib(self) -> float:
        """Its resident size. Linux only."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text("utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024

    def wrong(self, count: int) -> int:
        """How many of so many items stand in the ledger not exactly once; empties it."""
        times = [0] * count
        for line in self.ledger.read_text("utf-8").splitlines():
            times[int(line)] += 1
        self.ledger.unlink()
        return sum(found != 1 for found in times)

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)


async def verdicts(client: Client, home: Path, *, quick: bool) -> list[Verdict]:
    """Run the maps and ask the queries; print what each took.

    Args:
        client: A connected client.
        home: Of its server.
        quick: Smaller maps.
    """
    process = await asyncio.to_thread(_Process, home)
    try:
        await _mapped(client, process, 600)  # what is loaded once is not growth
        many = 1_000 if quick else 10_000
        raw_seconds = await _raw_seconds(client, process, many)
        small = await _mapped(client, process, many)
        print(f"the same by hand on raw: {raw_seconds:.1f} s before it", flush=True)
        large = await _mapped(client, process, 2_000 if quick else 100_000)
        state = await _state_ms(client)
    finally:
        await asyncio.to_thread(process.close)
    return [
        at_most("map of 10,000 local steps, seconds", small.seconds, 20),
        at_least("map of 10,000 local steps, dag / raw by hand", raw_seconds / small.seconds, 0.80),
        at_most("map of 10,000, events of the longest history", small.longest, 2000),
        at_most("map of 10,000, growth of the worker in MiB", small.growth_mib, 64),
        at_most("map of 10,000, parent queries p95 in ms", small.query_ms, 100),
        at_most("map of 10,000, items not done exactly once", small.wrong, 0),
        at_most("map of 100,000 local steps, seconds", large.seconds, 600),
        at_most("map of 100,000, events of the longest history", large.longest, 2000),
        at_most("map of 100,000, growth of the worker in MiB", large.growth_mib, 300),
        at_most("map of 100,000, items not done exactly once", large.wrong, 0),
        at_most("state of a run of 1,000 nodes, p95 in ms", state, 50),
    ]


async def _raw_seconds(client: Client, process: _Process, count: int) -> float:
    """What the same takes by hand on raw temporalio, in the same process."""
    begin = time.perf_counter()
    for size in (500, count):
        begin = time.perf_counter()
        name = f"raw-map-{uuid.uuid4().hex}"
        assert await client.temporal.execute_workflow(RawMap.run, size, id=name, task_queue=RAW_QUEUE) == size
        process.wrong(size)
    return time.perf_counter() - begin


async def _mapped(client: Client, process: _Process, count: int) -> Mapped:
    before = process.rss_mib()
    begin = time.perf_counter()
    run = await client.start(notes(), count, queue=QUEUE)
    peak, asked = before, list[float]()
    async with _repeated(run, asked):
        result = asyncio.ensure_future(run.result())
        while not result.done():
            peak = max(peak, process.rss_mib())
            await asyncio.wait([result], timeout=0.1)
    seconds = time.perf_counter() - begin
    assert result.result() == count
    found = Mapped(
        seconds=seconds,
        growth_mib=peak - before,
        longest=await _longest_history(client, run.id),
        query_ms=1000 * _p95(asked),
        wrong=process.wrong(count),
    )
    print(
        f"\nmap of {count:,} local steps: {seconds:.1f} s ({count / seconds:,.0f}/s), longest history {found.longest}"
        f" events, worker {before:.0f} MiB and {found.growth_mib:.0f} more, {len(asked)} queries p95"
        f" {found.query_ms:.0f} ms, not done exactly once: {found.wrong}",
        flush=True,
    )
    return found


@asynccontextmanager
async def _repeated(run: Run[object], asked: list[float]) -> AsyncGenerator[None]:
    """Ask for the state of a run, again and again, and note how long each answer takes."""

    async def ask() -> None:
        while True:
            begin = time.perf_counter()
            await run.state()
            asked.append(time.perf_counter() - begin)
            await asyncio.sleep(0.2)

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def _longest_history(client: Client, run_id: str) -> int:
    await asyncio.sleep(1)  # what has ended is listed a moment later
    # The child runs of a map have ids that begin with that of their parent.
    query = f"WorkflowId STARTS_WITH '{run_id}'"
    return max([run.history_length async for run in client.temporal.list_workflows(query)])


async def _state_ms(client: Client) -> float:
    """The 95th percentile of state queries to a run of 1,000 nodes of which all but one have ended."""
    plan = random_plan(999, seed=2)
    dag = additions(plan)
    dag.add_wait("wait", event="end", depends_on=list(plan.sources))
    run = await client.start(dag, None, queue=QUEUE)
    while (await run.state())["nodes"]["wait"]["state"] != "waiting":  # noqa: ASYNC110 - the run is elsewhere
        await asyncio.sleep(0.5)
    asked: list[float] = []
    for _ in range(200):
        begin = time.perf_counter()
        await run.state()
        asked.append(time.perf_counter() - begin)
    await run.send("end", None)
    await run.result()
    print(f"\nstate of a run of 1,000 nodes: p95 of 200 queries {1000 * _p95(asked):.1f} ms", flush=True)
    return 1000 * _p95(asked)


def _p95(times: list[float]) -> float:
    return sorted(times)[int(0.95 * len(times))] if times else 0.0
