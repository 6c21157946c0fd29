"""Worker processes that are started again whenever they end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from holdfast.settings import environment_with
from holdfast_server.demo.driver import DemoFailed

_STOP_SECONDS: Final = 15.0
_PAUSE_SECONDS: Final = 0.5
_TOO_OFTEN: Final = 20


class Fleet:
    """Keeps some worker processes up. Use it as an async context manager: they are ended when the block is left.

    Args:
        command: What each of them runs: the arguments of this Python.
        size: How many.
        log: Where their output is added.

    Attributes:
        killed_count: How often one was killed.
        broken: Set when one ends by itself again and again. A few times is fine, as during a partition.
    """

    def __init__(self, command: Sequence[str], *, size: int, log: Path) -> None:
        self._command = [sys.executable, *command]
        self._size = size
        self._log = log
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.killed_count = 0
        self.broken = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [process.pid for _, process in sorted(self._running.items())]

    def check(self) -> None:
        """Raises:
        DemoFailed: They do not stay up.
        """
        if self.broken.is_set():
            raise DemoFailed(f"the workers end by themselves, see {self._log}")

    async def __aenter__(self) -> Self:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._keepers = [asyncio.create_task(self._keep(place)) for place in range(self._size)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stopping.set()
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        _, late = await asyncio.wait(self._keepers, timeout=_STOP_SECONDS)
        if late:
            for process in self._running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await asyncio.wait(late)

    async def _keep(self, place: int) -> None:
        by_itself_count = 0
        while not self._stopping.is_set():
            with self._log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env=environment_with(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self._running[place] = process
            if self._stopping.is_set():  # it has begun too late to be told
                process.terminate()
            code = await process.wait()
            del self._running[place]
            if code == -signal.SIGKILL:
                self.killed_count += 1
                by_itself_count = 0
                continue
            by_itself_count += 1
            if by_itself_count >= _TOO_OFTEN:
                self.broken.set()
                return
            await asyncio.sleep(_PAUSE_SECONDS)
