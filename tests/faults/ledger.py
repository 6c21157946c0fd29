"""What steps did, written by the steps themselves to a file that no crash can take back.

Each attempt appends a line when it starts and one when it ends. A killed process leaves a start without an end.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast import step_info

VARIABLE = "FAULTS_LEDGER"
"""The environment variable that names the file."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line."""

    event: str
    """`start`, `end`, or `failed` for an attempt that an exception or a cancel ended."""
    run: str
    step: str
    label: str
    attempt: int
    pid: int
    at: float
    """Seconds of the system's monotonic clock, the same in all processes."""


@contextmanager
def recorded(label: str) -> Iterator[None]:
    """Append the start and the end of the current step's attempt.

    Args:
        label: Which piece of work of the run it is.
    """
    info = step_info()

    def append(event: str) -> None:
        entry = Entry(
            event=event,
            run=info.run_id,
            step=info.step,
            label=label,
            attempt=info.attempt,
            pid=os.getpid(),
            at=time.monotonic(),
        )
        # One write with O_APPEND: lines of several processes never mix. What a process has written outlives it.
        fd = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(fd, json.dumps(asdict(entry)).encode() + b"\n")
        finally:
            os.close(fd)

    append("start")
    try:
        yield
    except BaseException:
        append("failed")
        raise
    append("end")


class Ledger:
    """Reads the file.

    Args:
        path: It need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self, wanted: Callable[[Entry], bool] = lambda entry: True, **fields: object) -> list[Entry]:
        """The entries in order, those whose fields have the given values."""
        if not self.path.exists():
            return []
        lines = self.path.read_text("utf-8").splitlines()
        found = [Entry(**json.loads(line)) for line in lines]
        return [
            entry
            for entry in found
            if wanted(entry) and all(getattr(entry, name) == value for name, value in fields.items())
        ]

    def starts(self, **fields: object) -> list[Entry]:
        """The starts of attempts."""
        return self.entries(event="start", **fields)

    def ends(self, **fields: object) -> list[Entry]:
        """The ends of attempts that went well."""
        return self.entries(event="end", **fields)

    def done_again(self, killed: Mapping[int, float] | None = None) -> list[Entry]:
        """The starts of work that had already ended well.

        Args:
            killed: When processes were killed, by pid. An end in the second before that may not have reached the
                server, so the step was not complete.
        """
        done: set[tuple[str, str, str]] = set()
        again: list[Entry] = []
        for entry in self.entries():
            work = (entry.run, entry.step, entry.label)
            if entry.event == "start" and work in done:
                again.append(entry)
            elif entry.event == "end" and entry.at < (killed or {}).get(entry.pid, math.inf) - 1:
                done.add(work)
        return again
