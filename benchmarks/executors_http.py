"""`python -m benchmarks.executors_http`: the http executor beside bare httpx, and memory while 10 GB are refused.

Takes about two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client as TemporalClient
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker as TemporalWorker

from benchmarks.http_flows import CALLS, RawGets, gets, nodes, raw_client, raw_get
from benchmarks.http_memory import growth_mib
from benchmarks.measure import Pair
from benchmarks.report import at_least, at_most, print_verdicts, section
from holdfast import Client, Worker
from holdfast.engine.embedded import stop

QUEUE = "bench-http"


@asynccontextmanager
async def _service() -> AsyncGenerator[str]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.http_service"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout
    yield f"http://127.0.0.1:{int(await child.stdout.readline())}/"
    child.kill()
    await child.wait()


async def _seconds(work: Awaitable[Any]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


async def _main(rounds: int) -> int:
    os.environ["HOLDFAST_HTTP_ALLOW"] = "127.0.0.1"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            async with Client.embedded(home) as client, _service() as url, httpx.AsyncClient() as bare:
                raw_client[:] = [bare]
                peer = await TemporalClient.connect(client.address, data_converter=pydantic_data_converter)
                async with (
                    Worker(client, [gets], queues=[QUEUE]),
                    TemporalWorker(
                        peer,
                        task_queue=f"{QUEUE}-raw",
                        workflows=[RawGets],
                        activities=[raw_get],
                        max_concurrent_activities=100,
                        max_concurrent_workflow_tasks=100,
                    ),
                ):

                    def raw() -> Awaitable[float]:
                        return _seconds(
                            peer.execute_workflow(
                                RawGets.run,
                                url,
                                id=f"raw-{uuid.uuid4().hex}",
                                task_queue=f"{QUEUE}-raw",
                                request_eager_start=True,
                            )
                        )

                    dag = nodes(url)
                    pairs = [
                        Pair(
                            name=f"{CALLS} http nodes of a DAG",
                            ours=lambda: _seconds(client.run(dag, None, queue=QUEUE)),
                            theirs=raw,
                        ),
                        Pair(
                            name=f"{CALLS} http.get in code",
                            ours=lambda: _seconds(client.run(gets, url)),
                            theirs=raw,
                        ),
                    ]
                    rows = await section("http, against bare httpx in a plain activity", pairs, rounds)
        finally:
            await stop(home)
    grown = await growth_mib()
    print("\nMiB that a process grows by while it refuses 10 GB")
    for how, mib in grown.items():
        print(f"  {how:<34}{mib:>8.1f}")
    verdicts = [at_least(f"http / bare httpx, {row.name}", row.ratio, 0.80) for row in rows]
    verdicts.append(at_most("MiB, refusing 10 GB", max(grown.values()), 64))
    print_verdicts(verdicts)
    return 0


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executors_http", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="paired rounds of each figure (default 9)")
    sys.exit(asyncio.run(_main(max(2, parser.parse_args().rounds))))


if __name__ == "__main__":
    main()
