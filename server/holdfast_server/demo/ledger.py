"""The ledger: what the steps themselves say they did, in a file that no crash can take back.

Each attempt of a step appends one line when it starts and one when it ends. A killed process leaves a start
without an end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time
from typing import Literal

from holdfast import NotInWorkflow, step_info

LEDGER = Path("demo-output") / "ledger.jsonl"
"""Relative to the worker's working folder."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the ledger."""

    event: Literal["start", "end", "failed"]
    run_id: str
    step: str
    label: str
    """What tells two calls of one step apart for a reader."""
    key: str
    """The step's idempotency key: the same for all attempts of one call, different for every other call."""
    attempt: int
    pid: int
    at: float
    """Seconds since the epoch."""


@contextmanager
def recorded(label: str = "") -> Generator[None, None, None]:
    """Append the start and the end of the current step's attempt. Outside of a run it does nothing.

    Args:
        label: What tells two calls of one step apart for a reader.
    """
    try:
        info = step_info()
    except NotInWorkflow:
        yield
        return

    def append(event: Literal["start", "end", "failed"]) -> None:
        entry = Entry(
            event=event,
            run_id=info.run_id,
            step=info.step,
            label=label,
            key=info.idempotency_key,
            attempt=info.attempt,
            pid=os.getpid(),
            at=time(),
        )
        _append(LEDGER, json.dumps(asdict(entry)) + "\n")

    append("start")
    try:
        yield
    except BaseException:
        append("failed")
        raise
    append("end")


def _append(path: Path, line: str) -> None:
    """One write at the end of the file, on disk before it returns: lines of several processes never mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(fd, line.encode())
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path: Path, run_id: str | None = None) -> list[Entry]:
    """The entries in order, of one run or of all; none when there is no file."""
    if not path.exists():
        return []
    entries = [Entry(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    return [entry for entry in entries if run_id in (None, entry.run_id)]


def running(entries: Iterable[Entry], pid: int) -> list[Entry]:
    """The starts of attempts that this process has begun and not ended."""
    found: dict[tuple[str, int], Entry] = {}
    for entry in entries:
        if entry.pid == pid and entry.event == "start":
            found[entry.key, entry.attempt] = entry
        else:
            found.pop((entry.key, entry.attempt), None)
    return list(found.values())


def repeated(entries: Iterable[Entry]) -> list[Entry]:
    """The starts of calls that had already ended well: work that was done twice."""
    done: set[str] = set()
    again: list[Entry] = []
    for entry in entries:
        if entry.event == "end":
            done.add(entry.key)
        elif entry.event == "start" and entry.key in done:
            again.append(entry)
    return again
