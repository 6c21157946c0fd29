"""The processes that are killed: a home's server, supervisor and indexer, and the workers; and who kills them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from holdfast.chaos import plan as chaos
from holdfast.chaos.plan import FaultKind
from holdfast.chaos.proxy import Proxy
from holdfast.engine import embedded

from . import files
from .build import BUILD_VARIABLE, Build
from .journal import wall
from .sink import PORT_VARIABLE

ROOT: Final = Path(__file__).parents[2]
BACK_SECONDS: Final = 20.0

KINDS: Final = {
    "worker SIGKILL": 10,
    "worker SIGTERM": 2,
    "worker SIGSTOP": 1,
    "server SIGKILL": 4,
    "server SIGSTOP": 1,
    "supervisor SIGKILL": 1,
    "indexer SIGKILL": 1,
    "workers' partition": 1,
    "workers' lost_reply": 2,
    "workers' half_open": 1,
    "workers' delay": 1,
    "caller's partition": 1,
    "caller's lost_reply": 3,
    "store locked": 1,
    "database locked": 1,
    "code mixed": 1,
    "code rollback": 1,
}
"""How often each kind of fault comes, relative to the others."""


@dataclass(kw_only=True)
class Fault:
    """One fault."""

    kind: str
    pid: int
    at: float
    until: float = 0.0
    """When what it hit served again; wall clock, as the effects'."""


class WorkerProcess:
    """A worker in a process of its own."""

    def __init__(self, folder: Path, number: int, home: Path, sink: int, via: str, build: Build) -> None:
        self.log = folder / f"worker-{number}.log"
        options = {
            "home": str(home),
            "served": ["tests.crash.work"],
            "drain": 10.0,
            "options": {},
            "via": via,
        }
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "tests.faults.host", json.dumps(options)],
                cwd=ROOT,
                env={**os.environ, PORT_VARIABLE: str(sink), BUILD_VARIABLE: build},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.pid = self.process.pid

    async def serving(self) -> None:
        """Wait until it serves."""
        await until(lambda: b"serving" in self.log.read_bytes() or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.log.read_text("utf-8", errors="replace")


class Scene:
    """One home with its processes. Scenes with faults of their own derive from it.

    Args:
        folder: Where home, logs and records go.
        workers: How many worker processes there are.
        proxies: What the workers and the caller reach the server through.
    """

    kinds: ClassVar[Mapping[str, float]] = KINDS

    def __init__(self, folder: Path, workers: int, proxies: Mapping[str, Proxy]) -> None:
        self.folder = folder
        self.losses: list[tuple[float, float]] = []
        """Times of which a disk has lost what it had said to keep."""

        self.home = folder / "home"
        self._proxies = proxies
        self.effects = folder / "effects.jsonl"
        self.faults: list[Fault] = []
        self._made = 0
        self._sink = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.sink", str(self.effects)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={**os.environ, "LD_PRELOAD": ""},  # its clock is right
        )
        assert self._sink.stdout is not None
        self._port = int(self._sink.stdout.readline())
        self.workers = [self._worker() for _ in range(workers)]
        self.all_workers = list(self.workers)

    @staticmethod
    def set_up(folder: Path) -> AbstractContextManager[object]:
        """What must be there before the home is."""
        return nullcontext(folder)

    def _worker(self, build: Build = Build.NEW) -> WorkerProcess:
        self._made += 1
        via = self._proxies["workers'"].address
        return WorkerProcess(self.folder, self._made, self.home, self._port, via, build)

    async def serving(self) -> None:
        """Wait until all workers serve."""
        await asyncio.gather(*(worker.serving() for worker in self.workers))

    async def inject(self, kind: str, dice: random.Random) -> None:
        """One fault, until what it hit serves again."""
        victim, what = kind.split()
        if victim == "worker":
            await self._hit_worker(kind, what, dice)
        elif victim in self._proxies:
            fault = self._note(kind, 0)
            lasts = timedelta(seconds=dice.uniform(0.5, 4))
            await self._proxies[victim].disturb(chaos.Fault(kind=FaultKind(what), duration=lasts))
            fault.until = wall()
        elif victim == "code":
            await self._other_code(kind, what, dice)
        elif what == "locked":
            fault = self._note(kind, 0)
            file, longest = {"store": ("history.db", 15), "database": ("temporal.db", 3)}[victim]
            await files.lock(self.home / file, dice.uniform(0.5, longest))
            fault.until = wall()
        elif victim == "indexer":
            if pid := indexer_of(self.home):
                self._note(kind, pid)
                kill(pid, signal.SIGKILL)
                self.faults[-1].until = wall()  # nobody waits for it
        else:
            await self._hit_server(kind, what, dice)

    async def _hit_worker(self, kind: str, what: str, dice: random.Random) -> None:
        place = dice.randrange(len(self.workers))
        old = self.workers[place]
        fault = self._note(kind, old.pid)
        if what == "SIGSTOP":
            old.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(
                dice.uniform(8, 14)
            )  # past the heartbeat's timeout: its work is given to others
            old.process.send_signal(signal.SIGCONT)
        else:
            await self._replace(place, getattr(signal, what), Build.NEW)
        fault.until = wall()

    async def _other_code(self, kind: str, what: str, dice: random.Random) -> None:
        """For a while the code of before: at one worker, beside the new, or at all of them."""
        fault = self._note(kind, 0)
        places = range(1 if what == "mixed" else len(self.workers))
        for build in (Build.OLD, Build.NEW):
            await asyncio.gather(*(self._replace(place, signal.SIGTERM, build) for place in places))
            if build is Build.OLD:
                await asyncio.sleep(dice.uniform(3, 10))
        fault.until = wall()

    async def _replace(self, place: int, what: signal.Signals, build: Build) -> None:
        old = self.workers[place]
        old.process.send_signal(what)
        self.workers[place] = self._worker(build)
        self.all_workers.append(self.workers[place])
        await self.workers[place].serving()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(old.process.wait, 30)

    async def _hit_server(self, kind: str, what: str, dice: random.Random) -> None:
        before = embedded.read_info(self.home)
        assert before is not None
        pid = before.supervisor_pid if kind.startswith("supervisor") else before.server_pid
        fault = self._note(kind, pid)
        kill(pid, getattr(signal, what))
        if what == "SIGSTOP":
            await asyncio.sleep(dice.uniform(1, 6))
            kill(pid, signal.SIGCONT)
        else:
            await until(lambda: self._moved(before.server_pid), BACK_SECONDS)
        fault.until = wall()

    def _moved(self, server_pid: int) -> bool:
        after = embedded.read_info(self.home)
        return after is not None and after.server_pid != server_pid

    def _note(self, kind: str, pid: int) -> Fault:
        self.faults.append(Fault(kind=kind, pid=pid, at=wall()))
        return self.faults[-1]

    @property
    def counts(self) -> Counter[str]:
        """How many faults of each kind there were."""
        return Counter(fault.kind for fault in self.faults)

    async def close(self) -> None:
        """End every process."""
        for worker in self.all_workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGCONT)
                worker.process.kill()
                worker.process.wait()
        await embedded.stop(self.home)
        self._sink.kill()
        self._sink.wait()


def kill(pid: int, what: signal.Signals) -> None:
    """Send a signal to a process, which may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, what)


def indexer_of(home: Path) -> int | None:
    """The process of a home's indexer."""
    found = subprocess.run(
        ["pgrep", "-f", f"holdfast.indexer --home {home}"], capture_output=True, text=True, check=False
    )
    return int(found.stdout.split()[0]) if found.stdout else None


async def until(condition: Callable[[], object], seconds: float) -> None:
    """Wait for a condition."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not after {seconds} s"
        await asyncio.sleep(0.05)
