"""Log files that stay bounded, and their last lines for error messages."""

from __future__ import annotations

import os
from pathlib import Path

_LIMIT_BYTES = 10 * 1024 * 1024
_READ_BYTES = 64 * 1024
_TAIL_LINES = 5


def rotate(log: Path) -> None:
    """Keep a log and its predecessor within bounds. The writer appends, so truncating under it is safe."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return
    if size <= _LIMIT_BYTES:
        return
    previous = log.with_name(f"{log.name}.1")
    previous.touch(mode=0o600)
    previous.write_bytes(_read(log, size - _LIMIT_BYTES, _LIMIT_BYTES))
    os.truncate(log, 0)


def since(log: Path, start: int = 0) -> str:
    """What was logged from the byte `start` on, the first part if it is long."""
    try:
        return _read(log, start, _READ_BYTES).decode(errors="replace")
    except OSError:
        return ""


def tail(log: Path, start: int | None = None) -> str:
    """The last lines of a log and its path, as the end of an error message.

    Args:
        log: The log.
        start: Where the lines of interest begin. Default: shortly before the end.
    """
    try:
        begin = max(0, log.stat().st_size - _READ_BYTES) if start is None else start
    except OSError:
        return ""
    # The frames of a Go panic say less than what came before them.
    text = since(log, begin).partition("\ngoroutine ")[0]
    lines = [line[:500] for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
    return "".join([f"\nThe last lines of {log}:", *(f"\n  {line}" for line in lines)])


def _read(path: Path, start: int, count: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(count)
