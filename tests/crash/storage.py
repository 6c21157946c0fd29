"""Plays in which disks, databases or clocks fail, and nothing else does.

    python -m tests.crash.storage disk-full|locked [options of python -m tests.crash]

The disk of `disk-full` is a small one in memory, which only root may mount.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ClassVar, Final

from holdfast import Client, HoldfastError
from holdfast.engine import embedded

from . import files, scene
from .__main__ import main
from .journal import wall

_MEBIBYTES: Final = 400


class Full(scene.Scene):
    """A home on a small disk that is full at times. While it is, its server may be killed as well."""

    kinds: ClassVar[Mapping[str, float]] = {"disk full": 3, "disk full+server": 1, "disk full+supervisor": 1}
    disk: ClassVar[files.SmallDisk]

    @staticmethod
    def set_up(folder: Path) -> AbstractContextManager[object]:
        """The disk."""

        @contextmanager
        def mounted() -> Iterator[None]:
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


_SCENES: Final[Mapping[str, type[scene.Scene]]] = {"disk-full": Full, "locked": Locked}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in _SCENES:
        sys.exit(__doc__)
    if sys.argv[1] == "disk-full" and (reason := files.no_small_disk()):
        print(f"disk-full is left out: {reason}")
        sys.exit(0)
    sys.exit(main(sys.argv[2:], made=_SCENES[sys.argv[1]], name="tests.crash.storage", about=__doc__))
