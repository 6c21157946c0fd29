"""The demo's worker as a process that can be killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from holdfast.settings import environment_with

STOP_SECONDS = 15.0


class WorkerProcess:
    """`python -m holdfast_server.demo.worker HOME EXAMPLES`, with its output in a log file.

    Use it as a context manager: it is ended when the block is left, whatever happens.

    Args:
        home: Of the embedded server.
        examples: Their folder.
        log: Where its output is added.
        http_allow: What its http calls reach besides public addresses, as in `HOLDFAST_HTTP_ALLOW`.
    """

    def __init__(self, home: Path, examples: Path, log: Path, *, http_allow: str = "") -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log: IO[bytes] = log.open("ab")
        self.log = log
        command = [sys.executable, "-m", "holdfast_server.demo.worker", str(home), str(examples)]
        self._process = subprocess.Popen(
            command,
            env=environment_with(HOLDFAST_HTTP_ALLOW=http_allow),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative after a signal."""
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL: it gets no chance to finish or to report anything."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, so that it drains; SIGKILL when that takes too long."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()
