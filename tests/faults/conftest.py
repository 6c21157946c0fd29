"""A home of its own for every scenario, worker processes that can be killed, and the ledger their steps write."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast import Client, Run, RunState
from holdfast.authoring.registry import fresh_registry
from holdfast.engine import embedded

with fresh_registry():
    # Only the worker processes serve these; other tests of this process may use the same names.
    from . import dag_flows as dag_flows
    from . import served as served

from .ledger import VARIABLE, Ledger

ROOT = Path(__file__).parents[2]

THOROUGH = os.environ.get("FAULTS") == "thorough"
"""What `make crash` sets: more rounds, longer blocks, and the scenarios that `make test` has no time for."""

thorough = pytest.mark.skipif(not THOROUGH, reason="only in `make crash`")
rounds = pytest.mark.parametrize("round", range(5 if THOROUGH else 1))
"""Repeats a test in which chance plays a part."""


def chance() -> random.Random:
    """Chance for one test; `FAULTS_SEED` plays it again."""
    seed = int(os.environ.get("FAULTS_SEED") or time.time_ns() // 1_000_000)
    print(f"FAULTS_SEED={seed}")
    return random.Random(seed)


class Host:
    """A worker process."""

    def __init__(
        self, home: Path, ledger: Path, log: Path, environment: dict[str, str], **options: Any
    ) -> None:
        chosen = {
            "home": str(home),
            "served": options.pop("served", ["tests.faults.served"]),
            "drain": options.pop("drain", 5.0),
            "options": options,
        }
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "tests.faults.host", json.dumps(chosen)],
                cwd=ROOT,
                env={**os.environ, VARIABLE: str(ledger), **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.pid = self.process.pid

    @property
    def said(self) -> str:
        """Everything that it has printed and logged."""
        return self.log.read_text("utf-8", errors="replace")

    def line(self, word: str) -> list[str]:
        """The words of the line that begins with `word`; none when it is not there yet."""
        return next((line.split() for line in self.said.splitlines() if line.startswith(f"{word} ")), [])

    async def serving(self) -> Host:
        """Wait until it serves."""
        await until(lambda: self.line("serving") or self.process.poll() is not None, 20)
        assert self.process.poll() is None, self.said
        return self

    def kill(self) -> float:
        """SIGKILL; returns when that was."""
        self.process.send_signal(signal.SIGKILL)
        at = time.monotonic()
        self.process.wait()
        return at

    def terminate(self) -> float:
        """SIGTERM; returns when that was."""
        self.process.send_signal(signal.SIGTERM)
        return time.monotonic()

    async def ended(self, seconds: float) -> int:
        """Wait for its end; its exit code."""
        await until(lambda: self.process.poll() is not None, seconds)
        return self.process.wait()


class Scene:
    """One home with its server, its worker processes and their ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.hosts: list[Host] = []

    def start_host(self, environment: dict[str, str] | None = None, **options: Any) -> Host:
        """Start a worker process. Options: `served`, `drain`, and those of `Worker`."""
        log = self.folder / f"worker-{len(self.hosts)}.log"
        host = Host(self.home, self.ledger.path, log, environment or {}, **options)
        self.hosts.append(host)
        return host

    async def host(self, environment: dict[str, str] | None = None, **options: Any) -> Host:
        """Start a worker process and wait until it serves."""
        return await self.start_host(environment, **options).serving()

    def client(self) -> Client:
        """A client of the home's server."""
        return Client.embedded(home=self.home)

    def close(self) -> None:
        """End every process of the scene."""
        for host in self.hosts:
            if host.process.poll() is None:
                host.kill()
        if self.home.exists():
            asyncio.run(embedded.stop(self.home))
        for pid in processes(str(self.home)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def until(condition: Callable[[], object], seconds: float) -> float:
    """Wait for a condition; returns how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not after {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def wait_is_open(run: Run[Any]) -> None:
    """Wait until a run waits for a message."""
    async with asyncio.timeout(20):
        while not (await run.describe()).waits:  # noqa: ASYNC110 - the run is elsewhere
            await asyncio.sleep(0.1)


async def until_stuck(run: Run[Any], word: str) -> str:
    """Wait until a run is stuck for a reason that has this word; returns the reason."""
    async with asyncio.timeout(30):
        while True:
            described = await run.describe()
            if described.stuck and word in described.stuck:
                assert described.state is RunState.STUCK
                return described.stuck
            await asyncio.sleep(0.2)


def processes(mark: str) -> list[int]:
    """The other processes that have `mark` in their command line."""
    found: list[int] = []
    lines = subprocess.check_output(["ps", "-axww", "-o", "pid=,command="], text=True).splitlines()
    found.extend(int(line.split()[0]) for line in lines if mark in line)
    return [pid for pid in found if pid != os.getpid()]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A scene for one test."""
    made = Scene(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene for the tests of one file: it is played once, and each test looks at what came of it."""
    made = Scene(tmp_path_factory.mktemp("scene"))
    yield made
    made.close()


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[Client]:
    """A client of the scene."""
    async with scene.client() as connected:
        yield connected
