"""Reloading: a new worker process takes over when the code changes, and the old one finishes what it has.

No worker is ever killed for a reload. New code that does not import leaves the old worker at work.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast_server.worker_host import Report

_POLL_SECONDS = 0.05
_WATCH_SECONDS = 0.25
_END_SECONDS = 5.0
"""How much longer than its drain time a worker may take to end."""


@dataclass(frozen=True, kw_only=True)
class WorkerProcess:
    """A worker process that drains when the pipe to its stdin is closed: also when this process is killed."""

    process: asyncio.subprocess.Process
    report_file: Path

    @classmethod
    async def start(cls, arguments: Sequence[str], folder: Path) -> WorkerProcess:
        """Start `holdfast worker` with these arguments."""
        report = folder / f"worker-{time.monotonic_ns()}.json"
        command = [sys.executable, "-m", "holdfast_server.cli", "worker", *arguments]
        process = await asyncio.create_subprocess_exec(
            *command,
            "--with-parent",
            "--report",
            str(report),
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which then ends its workers in good order
        )
        return cls(process=process, report_file=report)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.returncode is None

    async def ready(self) -> Report | None:
        """What it reports once it serves, or once it has ended because it cannot."""
        ended = asyncio.ensure_future(self.process.wait())
        while not ended.done() and not self.report_file.exists():
            await asyncio.wait([ended], timeout=_POLL_SECONDS)
        ended.cancel()
        return Report.read(self.report_file)

    def drain(self) -> None:
        """Let it finish what it has, and end."""
        if self.process.stdin is not None:
            self.process.stdin.close()


class Watched:
    """Files, and whether they are as they were when a worker was started.

    They are asked in turn, not watched by the system: they are few, and this also works on shared folders.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._seen = {file: _stamp(file) for file in files}
        self._began = time.time_ns()

    def begin(self) -> None:
        """From now on a worker reads the files."""
        self._seen = {file: _stamp(file) for file in self._seen}
        self._began = time.time_ns()

    def add(self, files: Iterable[Path]) -> None:
        """Watch further files, which the worker has read since it began."""
        for file in files:
            if file not in self._seen:
                stamp = _stamp(file)
                self._seen[file] = stamp if stamp < self._began else 0

    async def change(self) -> list[Path]:
        """Wait until files have changed, and for half a tick longer, since programs save several."""
        changed = self._changed()
        while not changed:
            await asyncio.sleep(_WATCH_SECONDS)
            changed = self._changed()
        await asyncio.sleep(_WATCH_SECONDS / 2)
        return sorted({*changed, *self._changed()})

    def _changed(self) -> list[Path]:
        return [file for file, stamp in self._seen.items() if _stamp(file) != stamp]


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return -1


class Reloader:
    """Keeps one worker at work with the newest code that works.

    Args:
        arguments: Of `holdfast worker`: apps and options.
        files: What to watch until a worker says what it has imported.
        drain_seconds: How long a worker may take to finish what it has.
        tell: Called with each line for the user, and whether it is bad news.
        offer: Called with the commands that start runs, when they are other ones than before.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        files: Iterable[Path],
        *,
        drain_seconds: float,
        tell: Callable[[str, bool], None],
        offer: Callable[[list[str]], None],
    ) -> None:
        self._arguments = arguments
        self._watched = Watched(files)
        self._drain_seconds = drain_seconds
        self._tell = tell
        self._offer = offer
        self._commands: list[str] = []
        self._current: WorkerProcess | None = None
        self._others: set[WorkerProcess] = set()
        """Those that start or drain."""

        self._folder = tempfile.TemporaryDirectory(prefix="holdfast-dev-")

    async def run(self) -> None:
        """Start a worker, and another one for each change, until cancelled."""
        try:
            await self._replace()
            while True:
                mourning = asyncio.create_task(self._mourn())
                try:
                    changed = await self._watched.change()
                finally:
                    mourning.cancel()
                self._tell(f"{', '.join(file.name for file in changed)} changed", False)
                await self._replace()
        finally:
            await self._end()

    async def _replace(self) -> None:
        began = time.monotonic()
        self._watched.begin()
        new = await WorkerProcess.start(self._arguments, Path(self._folder.name))
        self._others.add(new)
        report = await new.ready()
        if report is not None:
            self._watched.add(map(Path, report.files))
        if report is None or not report.polling:
            await new.process.wait()
            now = self._current
            rest = (
                f"worker {now.pid} goes on with the old code" if now and now.running else "no worker serves"
            )
            self._tell(f"this code does not work: {rest}; waiting for a change", True)
            return
        old, self._current = self._current, new
        self._others = {worker for worker in self._others if worker.running} - {new}
        self._tell(f"worker {new.pid} serves after {time.monotonic() - began:.1f} s", False)
        if report.commands != self._commands:
            self._commands = report.commands
            self._offer(report.commands)
        if old is not None and old.running:
            self._tell(f"worker {old.pid} finishes what it has", False)
            old.drain()
            self._others.add(old)

    async def _mourn(self) -> None:
        """Say so when the worker ends by itself."""
        if self._current is not None and self._current.running:
            code = await self._current.process.wait()
            self._tell(f"worker {self._current.pid} has ended with {code}; a change starts another one", True)

    async def _end(self) -> None:
        workers = [worker for worker in [*self._others, self._current] if worker is not None]
        for worker in workers:
            worker.drain()
        try:
            async with asyncio.timeout(self._drain_seconds + _END_SECONDS):
                await asyncio.gather(*(worker.process.wait() for worker in workers))
        finally:
            # A second Ctrl-C or a step that never ends: its run goes on with the next worker.
            for worker in workers:
                if worker.running:
                    self._tell(f"worker {worker.pid} did not end and is killed", True)
                    worker.process.kill()
                    await worker.process.wait()
            self._folder.cleanup()
