"""Workers are killed in the middle of llm calls, and the endpoint counts what was paid for.

A request of a chain that has been followed by the next one is on record, and must never come again: not while its
worker lives, and not after it was killed. What may come again is the one request whose answer was on its way, or had
come and was not on record yet.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from holdfast import Client, Run

from .conftest import ROOT, THOROUGH, Host, Scene, chance
from .llm_endpoint import WORKER, Asked
from .llm_flows import chain

KILLS = 200 if THOROUGH else 5
CHAINS = 4
"""How many are open at a time."""
CALLS = 3
"""Of each chain; each takes two answers."""


@contextmanager
def endpoint(file: Path) -> Iterator[str]:
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
    """One worker after the other.

    Attributes:
        killed_at: When each was killed, by its name.
    """

    def __init__(self, scene: Scene) -> None:
        self.killed_at: dict[str, float] = {}
        self._scene, self._names = scene, map(str, count())
        self._name, self._host = self._start()

    def _start(self) -> tuple[str, Host]:
        name = next(self._names)
        environment = {"OPENAI_CUSTOM_HEADERS": f"{WORKER}: {name}"}
        return name, self._scene.start_host(environment, served=["tests.faults.llm_flows"])

    async def kill_one(self, chance: random.Random) -> None:
        """Kill the worker at any moment, once the next one serves."""
        name, host = self._start()
        await host.serving()
        await asyncio.sleep(chance.uniform(0, 1))
        self.killed_at[self._name] = self._host.kill()
        self._name, self._host = name, host


async def play(scene: Scene, client: Client, base_url: str) -> tuple[dict[str, float], int]:
    """Kill workers while chains run; when each was killed, and how many chains there were."""
    crew, seed, names = Crew(scene), chance(), count()
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
            await crew.kill_one(seed)
        over.set()
    return crew.killed_at, next(names)


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
    assert lost + twice > 0, "no kill hit a call"
    assert lost + twice <= KILLS * CHAINS, "a kill costs each open chain one request at most"
