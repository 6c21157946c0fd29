"""Workers are killed in the middle of llm calls, and the endpoint counts what was paid for.

A request of a chain that has been followed by the next one is on record, and must never come again: not while its
worker lives, and not after it was killed. What may come again is the one request whose answer was on its way, or had
come and was not on record yet.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

from holdfast import Client, Run

from .conftest import ROOT, THOROUGH, Scene, chance, until
from .llm_endpoint import Asked
from .llm_flows import chain
from .llm_worker import work

KILLS = 200 if THOROUGH else 5
CHAINS = 6
"""How many are open at a time."""
CALLS = 3
"""Of each chain; each takes two answers."""


@contextmanager
def endpoint(file: Path) -> Generator[str]:
    """The address of an endpoint; afterwards the file says what it was asked."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.llm_endpoint", str(file)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(20)


class Crew:
    """One worker after the other, forked from a process that has imported everything: the starts of two hundred new
    ones would take most of an hour.

    Attributes:
        killed_at: When each was killed, by its name.
    """

    def __init__(self, home: Path) -> None:
        self.killed_at: dict[str, float] = {}
        self._home, self._names = home, map(str, count())
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.faults.llm_worker", "openai"])
        self._workers: list[tuple[str, BaseProcess]] = []

    async def next_one(self) -> None:
        """Start a worker, and wait until it serves."""
        name, serves = next(self._names), self._context.Event()
        process = self._context.Process(target=work, args=(str(self._home), name, serves), daemon=True)
        process.start()
        await until(lambda: serves.is_set() or not process.is_alive(), 120)
        assert process.is_alive(), f"worker {name} did not start"
        self._workers.append((name, process))

    def kill_one(self) -> None:
        """SIGKILL to the worker that has served longest."""
        name, process = self._workers.pop(0)
        process.kill()
        self.killed_at[name] = time.monotonic()
        process.join()


async def play(scene: Scene, client: Client, base_url: str) -> tuple[dict[str, float], int]:
    """Kill workers while chains run; when each was killed, and how many chains there were."""
    crew, seed, names = Crew(scene.home), chance(), count()
    await crew.next_one()
    over = asyncio.Event()

    async def keep_asking() -> None:
        while not over.is_set():
            label = f"chain-{next(names)}"
            run: Run[int] = await client.start(chain, base_url, label, CALLS, id=label)
            assert await run.result() == CALLS

    async with asyncio.TaskGroup() as group:
        for _ in range(CHAINS):
            group.create_task(keep_asking())
        for _ in range(KILLS):
            await crew.next_one()
            await asyncio.sleep(seed.uniform(0, 1))
            crew.kill_one()
        over.set()
    killed_at = dict(crew.killed_at)
    crew.kill_one()  # it has nothing to do any more
    return killed_at, next(names)


def place(asked: Asked) -> tuple[str, int]:
    """The chain, and which of its requests this is."""
    label, _, index = asked.call.rpartition("/")
    return label, int(index) * 2 + asked.stage


async def test_no_answer_that_is_on_record_is_paid_again(
    scene: Scene, client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "asked.jsonl"
    with endpoint(file) as base_url:
        killed_at, chains = await play(scene, client, base_url)
    requests = [Asked(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]

    paid, lost, furthest = Counter[tuple[str, int]](), 0, Counter[str]()
    for asked in sorted(requests, key=lambda asked: asked.received_at):
        label, number = place(asked)
        assert number >= furthest[label], f"{asked} came again, and was on record"
        furthest[label] = number
        # What is sent to a process that is dead is still sent.
        if asked.answered_at is not None and asked.answered_at < killed_at.get(asked.worker, float("inf")):
            paid[label, number] += 1
        else:
            lost += 1
    twice = sum(times - 1 for times in paid.values())
    print(
        f"{len(killed_at)} kills, {chains} chains, {len(requests)} requests: {len(paid)} answers needed, {twice} paid "
        f"twice in the window between answer and record, {lost} given up by the kill before they were answered"
    )
    assert len(killed_at) == KILLS
    assert len(paid) == chains * CALLS * 2, "each request was answered to a worker that lived"
    assert lost + twice > 0 or not THOROUGH, "no kill hit a call"
    assert lost + twice <= KILLS * CHAINS, "a kill costs each open chain one request at most"
