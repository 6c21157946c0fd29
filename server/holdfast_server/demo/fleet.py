"""Worker processes that are started again whenever they end.

They are forked from a process that has imported what they need, so that a killed one is back in a tenth of a second: a
worker that takes longer to start than its profile leaves between faults would get nothing done.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from holdfast_server.demo.driver import DemoFailed

_STOP_SECONDS: Final = 15.0
_PAUSE_SECONDS: Final = 0.5
_TOO_OFTEN: Final = 20


class Fleet:
    """Keeps some worker processes up. Use it as an async context manager: they are ended when the block is left.

    Args:
        target: What each of them runs: a function of a module.
        arguments: Its arguments.
        imports: Modules that are imported once, for all of them.
        size: How many.
        log: Where their output is added.

    Attributes:
        killed_count: How often one was killed.
        broken: Set when one ends by itself again and again. A few times is fine, as during a partition.
    """

    def __init__(
        self,
        target: Callable[..., object],
        arguments: Sequence[Any],
        *,
        imports: Sequence[str],
        size: int,
        log: Path,
    ) -> None:
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        self._context = (
            multiprocessing.get_context("forkserver") if forks else multiprocessing.get_context("spawn")
        )
        self._context.set_forkserver_preload([*imports])
        self._target, self._arguments = target, arguments
        self._size = size
        self._log = log
        self._running: dict[int, BaseProcess] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.killed_count = 0
        self.broken = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [process.pid for _, process in sorted(self._running.items()) if process.pid is not None]

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
            process.terminate()
        _, late = await asyncio.wait(self._keepers, timeout=_STOP_SECONDS)
        if late:
            for process in self._running.values():
                process.kill()
            await asyncio.wait(late)

    async def _keep(self, place: int) -> None:
        by_itself_count = 0
        while not self._stopping.is_set():
            process = self._context.Process(target=_run, args=(self._log, self._target, self._arguments))
            await asyncio.to_thread(process.start)
            self._running[place] = process
            if self._stopping.is_set():  # it has begun too late to be told
                process.terminate()
            await asyncio.to_thread(process.join)
            code = process.exitcode
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


def _run(log: Path, target: Callable[..., object], arguments: Sequence[Any]) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    target(*arguments)
