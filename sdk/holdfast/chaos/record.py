"""What has happened, in a file that outlives the process to which it happens: every fault, before it is done, and every
step that completed after one. All workers of a home add to the same file.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from holdfast.chaos.plan import FaultKind
from holdfast.engine.embedded.lock import FileLock
from holdfast.errors import Unavailable
from holdfast.jsonable import Jsonable

_LATEST: Final = 20
_TIMES: Final = 1000
_LOCK_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Injection(Jsonable):
    """One fault that happened. Of the network: without run, step and call."""

    kind: FaultKind
    at: datetime
    run_id: str = ""
    step: str = ""
    call: str = ""
    """Which call of the run, as `charge-1`."""

    attempt: int = 0
    after: bool = False
    """Whether the step's function had returned."""

    seconds: float = 0.0
    """Of latency and of the network: how long."""

    pid: int = 0
    """The process that it happened to."""

    order: str | None = None
    """The id under which it was asked for; None for one of the plan."""


class Record:
    """The file, and what follows from it. Safe to use from several threads.

    Args:
        folder: Where it lies; made with the first line.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "faults.jsonl"
        self._guard = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self.injected: Counter[FaultKind] = Counter()
        self.recovered: Counter[FaultKind] = Counter()
        """Faults whose step completed later, by kind; those of the network count as soon as the network is back."""
        self.latest: deque[Injection] = deque(maxlen=_LATEST)
        self.times: deque[float] = deque(maxlen=_TIMES)
        """When faults of plans happened, in seconds since 1970."""
        self.done_orders: set[str] = set()
        self._open: dict[tuple[str, str], list[FaultKind]] = {}

    @contextmanager
    def locked(self) -> Generator[None]:
        """One process at a time, with all that others have written.

        Raises:
            Unavailable: Another one holds it for seconds.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / "chaos.lock")
        with self._guard:
            if not lock.acquire(_LOCK_SECONDS):
                raise Unavailable(f"another process holds {lock.path}")
            try:
                self.refresh()
                yield
            finally:
                lock.release()

    def refresh(self) -> None:
        """Read what was added since the last time, or all of a file that is another one."""
        with self._guard:
            self._refresh()

    def _refresh(self) -> None:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if self._file != (status.st_dev, status.st_ino) or status.st_size < self._offset:
                    self._forget()
                    self._file = (status.st_dev, status.st_ino)
                file.seek(self._offset)
                text = file.read()
        except FileNotFoundError:
            self._forget()
            return
        whole = text.rpartition(b"\n")[0] + b"\n"
        for line in whole.splitlines():
            self._take(line)
        if text:
            self._offset += len(whole) if b"\n" in text else 0

    def _take(self, line: bytes) -> None:
        try:
            told = json.loads(line)
            key = (told["run_id"], told["call"])
            if told.pop("event") == "fault":
                kind = told["kind"] = FaultKind(told["kind"])
                at = told.pop("at")
                injection = Injection(at=datetime.fromtimestamp(at, UTC), **told)
                self.injected[kind] += 1
                self.latest.append(injection)
                self._open.setdefault(key, []).append(kind)
                if injection.order is None:
                    self.times.append(at)
                else:
                    self.done_orders.add(injection.order)
            else:
                self.recovered.update(self._open.pop(key, ()))
        except (ValueError, TypeError, KeyError):
            return  # cut off by a loss of power, or of another version

    def begin(self, injection: Callable[[], Injection | None]) -> bool:
        """Write a fault that is about to happen; it is on disk when this returns.

        Args:
            injection: Makes it, knowing all that happened before; None if it may not happen.

        Returns:
            Whether it may.

        Raises:
            OSError, Unavailable: It cannot be written.
        """
        with self.locked():
            made = injection()
            if made is None:
                return False
            self._append({"event": "fault", **made.to_dict(), "at": made.at.timestamp()})
            return True

    def completed(self, run_id: str, call: str) -> None:
        """A step has completed: if faults happened to it, they are made good.

        Raises:
            OSError, Unavailable: It cannot be written.
        """
        self.refresh()
        if (run_id, call) in self._open:
            with self.locked():
                self._append({"event": "completed", "run_id": run_id, "call": call, "at": time.time()})

    def begin_anew(self) -> None:
        """Forget what happened. To be called while `locked`."""
        self._path.unlink(missing_ok=True)
        self._forget()

    def _append(self, told: dict[str, Any]) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(fd, json.dumps(told).encode() + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        self.refresh()
