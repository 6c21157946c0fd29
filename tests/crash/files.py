"""Faults of files, from outside: databases that others lock, disks that are full, logs that lose their end."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .journal import wall

_LOCK: Final = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
held.execute("BEGIN EXCLUSIVE")
time.sleep(float(sys.argv[2]))
held.execute("ROLLBACK")
"""


async def lock(database: Path, seconds: float) -> None:
    """Another process locks a SQLite file for so long: others may read, and nobody may write."""
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", _LOCK, str(database), str(seconds))
    if code := await asyncio.wait_for(holder.wait(), 60 + seconds):
        raise RuntimeError(f"{database} was not locked: the process that was to do it ended with {code}")


class SmallDisk:
    """A file system in memory. Use it as a context manager.

    Args:
        folder: Where it is mounted; made.
        mebibytes: How large it is.

    Raises:
        OSError: It cannot be mounted here.
    """

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self.folder, self.mebibytes = folder, mebibytes
        self._ballast = folder / "ballast"

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(parents=True)
        self._mount(f"size={self.mebibytes}m")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def fill(self, leave: int) -> None:
        """Until nothing more goes in, but for some bytes."""
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            free = os.statvfs(self.folder)
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_bsize - leave, 1))
            while not leave:
                file.write(b"x" * 4096)

    def free(self, *, enlarge: bool) -> None:
        """Room again: by a larger disk for a moment, or at once by what was put there."""
        if enlarge:
            self._mount(f"remount,size={2 * self.mebibytes}m")
        else:
            self._ballast.unlink(missing_ok=True)

    def as_before(self) -> None:
        """The size that it had at first."""
        self._ballast.unlink(missing_ok=True)
        self._mount(f"remount,size={self.mebibytes}m")

    def _mount(self, options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise OSError(f"no small disk can be mounted here (root may): {done.stderr.strip()}")


def no_small_disk() -> str | None:
    """Why there can be none here; None if there can be."""
    try:
        with tempfile.TemporaryDirectory() as folder, SmallDisk(Path(folder) / "disk", 1):
            return None
    except OSError as error:
        return str(error)


@dataclass(frozen=True, kw_only=True)
class LogState:
    """Of a write-ahead log, as those who use it share it (the file `-shm`)."""

    salt: bytes
    """Another one each time the log begins anew."""

    frames: int
    """How many are committed."""

    moved: int
    """How many of them may be in the database itself by now."""

    @classmethod
    def of(cls, database: Path) -> LogState | None:
        """None while nobody has opened it."""
        with suppress(FileNotFoundError), database.with_name(f"{database.name}-shm").open("rb") as file:
            shared = file.read(136)
            if len(shared) == 136:
                (frames,) = struct.unpack_from("=I", shared, 16)
                moved = max(struct.unpack_from("=I", shared, at)[0] for at in (96, 128))
                return cls(salt=shared[32:40], frames=frames, moved=moved)
        return None


class LogWatch:
    """Remembers how long the log of a database was when, from `start` to `stop`."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._seen: list[tuple[float, LogState]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """No more is needed."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            # The time first: what was acknowledged before it is in the log that is then looked at.
            now, state = wall(), LogState.of(self._database)
            if state is not None and (not self._seen or self._seen[-1][1] != state):
                self._seen.append((now, state))
            elif state is not None:
                self._seen[-1] = (now, state)

    def safe_until(self, salt: bytes, frames: int) -> float:
        """Up to when all that was acknowledged is within the first so many frames of that log."""
        beyond = [at for at, state in self._seen if state.salt != salt or state.frames <= frames]
        return beyond[-1] if beyond else 0.0


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a log lost."""

    salt: bytes
    kept: int
    lost: int
    torn: bool
    """Whether a part of the first lost frame is left."""


def cut_log(database: Path, dice: random.Random) -> Cut | None:
    """Take away the end of a log that nobody has open, from a random frame or a byte within it on.

    What was moved to the database is left alone: a disk that had lost that would have lost the database.

    Returns:
        What was cut; None if the log has begun anew and nothing was written since.
    """
    wal = database.with_name(f"{database.name}-wal")
    state = LogState.of(database)
    if state is None or not wal.exists():
        return None
    with wal.open("r+b") as file:
        header = file.read(32)
        if len(header) < 32 or header[16:24] != state.salt or state.frames <= state.moved:
            return None
        frame = struct.unpack_from(">I", header, 8)[0] + 24
        kept = dice.randint(state.moved, state.frames - 1)
        torn = dice.randrange(1, frame) if dice.random() < 0.5 else 0
        at = 32 + kept * frame + torn
        if dice.random() < 0.5:
            file.truncate(at)
        else:  # its length was on the disk, and its content was not
            end = file.seek(0, os.SEEK_END)
            file.seek(at)
            file.write(b"\0" * (end - at))
        os.fsync(file.fileno())
    return Cut(salt=state.salt, kept=kept, lost=state.frames - kept, torn=bool(torn))
