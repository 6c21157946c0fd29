"""Plays in which disks, databases or clocks fail, and nothing else does.

    python -m tests.crash.storage disk-full|locked|power-loss|clocks [options of python -m tests.crash]

The disk of `disk-full` is a small one in memory, which only root may mount. `clocks` needs Linux and a C compiler.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Final

from holdfast import Client, HoldfastError
from holdfast.chaos.proxy import Proxy
from holdfast.engine import embedded
from holdfast.engine.embedded.home import Home
from holdfast.engine.embedded.lock import FileLock

from . import files, scene
from .__main__ import main
from .build import Build
from .journal import wall

_MEBIBYTES: Final = 400
_CLOCK: Final = "CRASH_CLOCK"
_SECONDS: Final = struct.Struct("l")


class Full(scene.Scene):
    """A home on a small disk that is full at times. While it is, its server may be killed as well."""

    kinds: ClassVar[Mapping[str, float]] = {"disk full": 3, "disk full+server": 1, "disk full+supervisor": 1}
    disk: ClassVar[files.SmallDisk]

    @staticmethod
    def set_up(folder: Path) -> AbstractContextManager[object]:
        """The disk."""

        @contextmanager
        def mounted() -> Generator[None]:
            with files.SmallDisk(folder / "home", _MEBIBYTES) as Full.disk:
                yield
                left = shutil.ignore_patterns("ballast", "*.sock", "hints")
                shutil.copytree(folder / "home", folder / "home-left", ignore=left)

        return mounted()

    async def inject(self, kind: str, dice: random.Random) -> None:
        """Fill it, wait, and make room."""
        fault = self._note(kind, 0)
        self.disk.fill(dice.choice((0, 0, dice.randrange(64 * 1024))))
        await asyncio.sleep(dice.uniform(1, 5))
        before = embedded.read_info(self.home)
        if before is not None and "+" in kind:
            pid = before.server_pid if kind.endswith("server") else before.supervisor_pid
            scene.kill(pid, signal.SIGKILL)
        await asyncio.sleep(dice.uniform(1, 10))
        self.disk.free(enlarge=dice.random() < 0.5)
        await scene.until(lambda: embedded.read_info(self.home), 3 * scene.BACK_SECONDS)
        await answers(self.home)
        self.disk.as_before()
        fault.until = wall()


class Locked(scene.Scene):
    """Databases that another process has locked."""

    kinds: ClassVar[Mapping[str, float]] = {"store locked": 1, "database locked": 2}


class Powerless(scene.Scene):
    """A machine that loses its power, with a disk that loses what it had said to keep: the end of the log of Temporal's
    database, and at times that of the store's."""

    kinds: ClassVar[Mapping[str, float]] = {"power cut": 2, "power cut+store": 1}

    def __init__(self, folder: Path, workers: int, proxies: Mapping[str, Proxy]) -> None:
        super().__init__(folder, workers, proxies)
        self._watch = files.LogWatch(self.home / "temporal.db")
        self._watch.start()

    async def inject(self, kind: str, dice: random.Random) -> None:
        """End everything at once, cut, and begin again."""
        starting = FileLock(Home(self.home).start_lock)  # while it is held, nobody brings the server back
        await scene.until(starting.try_acquire, scene.BACK_SECONDS)
        try:
            before = embedded.read_info(self.home)
            assert before is not None
            fault = self._note(kind, before.server_pid)
            indexer = scene.indexer_of(self.home)
            pids = (before.supervisor_pid, before.server_pid, *([indexer] if indexer else []))
            for pid in pids:
                scene.kill(pid, signal.SIGKILL)
            for worker in self.workers:
                worker.process.kill()
                await asyncio.to_thread(worker.process.wait)
            await scene.until(lambda: not any(map(_alive, pids)), 20)
            cut = files.cut_log(self.home / "temporal.db", dice)
            if cut is not None:
                self.losses.append((self._watch.safe_until(cut.salt, cut.kept), wall()))
            if kind.endswith("store"):
                files.cut_log(self.home / "history.db", dice)
        finally:
            starting.release()
        said = f"{wall() - self.losses[-1][0]:.1f} s before" if cut else "nothing to cut"
        print(f"  {kind}: {cut}, {said}", flush=True)
        self.workers = [self._worker() for _ in self.workers]
        self.all_workers += self.workers
        await self.serving()
        await scene.until(lambda: self._moved(before.server_pid), 3 * scene.BACK_SECONDS)
        fault.until = wall()

    async def close(self) -> None:
        """End every process."""
        self._watch.stop()
        await super().close()


class Clocks(scene.Scene):
    """Clocks that jump by an hour: each worker's own, and that of the caller, the supervisor and the indexer. That of
    Temporal's server stays. Nothing of what runs may notice, so no attempt is explained by it."""

    kinds: ClassVar[Mapping[str, float]] = {"clock workers'": 3, "clock caller's": 2}

    def __init__(self, folder: Path, workers: int, proxies: Mapping[str, Proxy]) -> None:
        self._clocks: list[Path] = []
        super().__init__(folder, workers, proxies)

    def _worker(self, build: Build = Build.NEW) -> scene.WorkerProcess:
        own = os.environ[_CLOCK]
        os.environ[_CLOCK] = str(self.folder / f"worker-{len(self._clocks)}.clock")
        self._clocks.append(Path(os.environ[_CLOCK]))
        _set(self._clocks[-1], 0)
        try:
            return super()._worker(build)
        finally:
            os.environ[_CLOCK] = own

    async def inject(self, kind: str, dice: random.Random) -> None:
        """One clock goes an hour ahead, or an hour back."""
        clock = dice.choice(self._clocks) if kind.endswith("workers'") else Path(os.environ[_CLOCK])
        fault = self._note(kind, 0)
        jump = dice.choice((-3600, 3600))
        (before,) = _SECONDS.unpack(clock.read_bytes())
        _set(clock, before + jump)
        print(f"  {clock.stem}: {jump:+d} s, now {before + jump:+d} s", flush=True)
        fault.until = wall()


def _set(clock: Path, seconds: int) -> None:
    """How far a clock is off; whoever has it mapped sees it at once."""
    with clock.open("r+b" if clock.exists() else "wb") as file:
        file.write(_SECONDS.pack(seconds))


def _with_own_clock(folder: Path) -> None:
    """Begin again, with a clock that can be set."""
    library, clock = folder / "clock.so", folder / "caller.clock"
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        print("clocks is left out: it needs Linux and a C compiler (cc)")
        sys.exit(0)
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    _set(clock, 0)
    command = [sys.executable, "-m", "tests.crash.storage", *sys.argv[1:]]
    os.execve(sys.executable, command, {**os.environ, "LD_PRELOAD": str(library), _CLOCK: str(clock)})


def _alive(pid: int) -> bool:
    """A process that is dead, and that nobody has waited for, has no command line."""
    with suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    return False


async def answers(home: Path) -> None:
    """Wait until a home's server does what it is asked."""
    async with asyncio.timeout(3 * scene.BACK_SECONDS):
        while True:
            try:
                async with Client.embedded(home) as client:
                    await client.temporal.count_workflows()
                    return
            except HoldfastError:
                await asyncio.sleep(0.5)


_SCENES: Final[Mapping[str, type[scene.Scene]]] = {
    "disk-full": Full,
    "locked": Locked,
    "power-loss": Powerless,
    "clocks": Clocks,
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in _SCENES:
        sys.exit(__doc__)
    kind = sys.argv[1]
    if kind == "disk-full" and (reason := files.no_small_disk()):
        print(f"disk-full is left out: {reason}")
        sys.exit(0)
    if kind == "clocks" and _CLOCK not in os.environ:
        _with_own_clock(Path(tempfile.mkdtemp(prefix="holdfast-clock-")))
    sys.exit(main(sys.argv[2:], made=_SCENES[kind], name="tests.crash.storage", about=__doc__))
