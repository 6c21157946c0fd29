"""Where a trial takes place: a home of its own, its worker processes, and whoever starts them again."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from argparse import Namespace
from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.scene import ROOT, Fault, until
from tests.crash.sink import PORT_VARIABLE, Effect, read_effects
from tests.crash.verdict import Verdict

from holdfast import Client
from holdfast.engine import embedded

UNANSWERED_SECONDS: Final = 15.0
"""A worker whose `/health` has not answered for so long is killed, as any host of processes does."""


class Hand:
    """A worker in a process of its own."""

    def __init__(self, place: Place, number: int, modules: Sequence[str], memory_bytes: int | None) -> None:
        self.log = place.folder / f"worker-{number}.log"
        options = {
            "home": str(place.home),
            "served": list(modules),
            "drain": 10.0,
            "options": {"health_port": 0, **place.worker_options},
        }
        bound = ["prlimit", f"--as={memory_bytes}", "--"] if memory_bytes else []
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*bound, sys.executable, "-u", "-m", "tests.faults.host", json.dumps(options)],
                cwd=ROOT,
                env={**os.environ, PORT_VARIABLE: str(place.sink_port)},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.pid = self.process.pid
        self.answered = time.monotonic()

    async def serving(self) -> None:
        """Wait until it serves."""
        await until(lambda: b"serving" in self.log.read_bytes() or self.process.poll() is not None, 60)

    def answers(self) -> bool:
        """Whether its health answers, within two seconds; also while it has not begun to serve."""
        said = re.search(rb"^serving (\d+)\n", self.log.read_bytes(), re.M)
        if said is None:
            return True
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{int(said[1])}/health", timeout=2).close()
        except (OSError, http.client.HTTPException):
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


@dataclass(kw_only=True)
class Place:
    """What a trial has."""

    folder: Path
    client: Client
    options: Namespace
    dice: random.Random
    sink_port: int
    modules: Sequence[str] = ("tests.crash.work",)
    memory_bytes: int | None = None
    """Of address space that each worker may take."""

    worker_options: dict[str, object] = field(default_factory=dict[str, object])
    hands: list[Hand] = field(default_factory=list[Hand])
    all_hands: list[Hand] = field(default_factory=list[Hand])
    faults: list[Fault] = field(default_factory=list[Fault])
    """Of each end of a process, whoever was the cause."""

    @property
    def home(self) -> Path:
        """Of the embedded server."""
        return self.folder / "home"

    def effects(self) -> list[Effect]:
        """What the steps have told the outside so far."""
        return list(read_effects(self.folder / "effects.jsonl"))

    def employ(self) -> Hand:
        """Start a worker process."""
        hand = Hand(self, len(self.all_hands) + 1, self.modules, self.memory_bytes)
        self.all_hands.append(hand)
        self.hands.append(hand)
        return hand

    async def employ_many(self, count: int) -> None:
        """Start so many, and wait until they serve."""
        hands = [self.employ() for _ in range(count)]
        await asyncio.gather(*(hand.serving() for hand in hands))

    async def keep(self) -> None:
        """Do what a host of processes does: start those again that have ended, end those that do not answer."""
        while True:
            await asyncio.sleep(0.2)
            for hand in list(self.hands):
                if hand.process.poll() is not None:
                    self._replace(hand, f"ended with {hand.process.returncode}")
                elif time.monotonic() - hand.answered > 1:
                    if await asyncio.to_thread(hand.answers):
                        hand.answered = time.monotonic()
                    elif time.monotonic() - hand.answered > UNANSWERED_SECONDS:
                        hand.kill()
                        self._replace(hand, "did not answer")

    def _replace(self, hand: Hand, why: str) -> None:
        if all(fault.pid != hand.pid for fault in self.faults):
            self.faults.append(Fault(kind=why, pid=hand.pid, at=time.time(), until=time.time() + 10))
        self.hands.remove(hand)
        self.employ()

    def kill_worker(self) -> Hand:
        """SIGKILL one of the workers; `keep`, where it goes on, starts another."""
        hand = self.dice.choice([hand for hand in self.hands if hand.process.poll() is None])
        self.faults.append(Fault(kind="worker SIGKILL", pid=hand.pid, at=time.time(), until=time.time() + 10))
        hand.kill()
        return hand

    async def kill_server(self) -> float:
        """SIGKILL the server and wait until the supervisor has another. Returns the seconds."""
        before = embedded.read_info(self.home)
        assert before is not None
        began, fault = time.monotonic(), Fault(kind="server SIGKILL", pid=before.server_pid, at=time.time())
        self.faults.append(fault)
        os.kill(before.server_pid, signal.SIGKILL)

        def moved() -> bool:
            after = embedded.read_info(self.home)
            return after is not None and after.server_pid != before.server_pid

        await until(moved, 60)
        fault.until = time.time()
        return time.monotonic() - began


@contextlib.asynccontextmanager
async def open_place(folder: Path, options: Namespace) -> AsyncGenerator[Place]:
    """Make a place, and end all its processes at the end."""
    sink = subprocess.Popen(  # noqa: ASYNC220 - nothing runs yet
        [sys.executable, "-m", "tests.crash.sink", str(folder / "effects.jsonl")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert sink.stdout is not None
    try:
        port = int(sink.stdout.readline())
        async with Client.embedded(folder / "home") as client:
            place = Place(
                folder=folder,
                client=client,
                options=options,
                dice=random.Random(options.seed),
                sink_port=port,
            )
            try:
                yield place
            finally:
                for hand in place.all_hands:
                    hand.kill()
    finally:
        await embedded.stop(folder / "home")
        sink.kill()
        sink.wait()
        sink.stdout.close()


@contextlib.asynccontextmanager
async def beside(work: Awaitable[object]) -> AsyncGenerator[None]:
    """Something that goes on in the meantime; where it fails, so does the trial, at once."""
    trial, task = asyncio.current_task(), asyncio.ensure_future(work)
    assert trial is not None
    task.add_done_callback(lambda done: trial.cancel() if not done.cancelled() and done.exception() else None)
    try:
        yield
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and (error := task.exception()):
            raise AssertionError("what went on beside the trial failed") from error
        raise
    finally:
        task.cancel()
        await asyncio.wait([task])


async def timed(call: Awaitable[object]) -> float:
    """How many seconds a call takes."""
    began = time.monotonic()
    await call
    return time.monotonic() - began


def spread(seconds: Sequence[float]) -> str:
    """The middle, the 95th percentile and the longest."""
    if not seconds:
        return "none"
    p95 = percentile(seconds, 0.95)
    return f"{len(seconds)}x: p50 {statistics.median(seconds):.3f} s, p95 {p95:.3f} s, longest {max(seconds):.3f} s"


def percentile(seconds: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def within(verdict: Verdict, name: str, seconds: Sequence[float], limit: float, *, strict: bool) -> None:
    """Note how long something took, and complain where 95 of 100 took longer than promised."""
    verdict.figures[name] = spread(seconds)
    if strict and seconds and percentile(seconds, 0.95) > limit:
        verdict.say("slow", f"{name}: {spread(seconds)}; promised are {limit:g} s")
