"""What the harness meant to do, written and flushed to the disk before each call, and what came of it after."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_BEGIN: Final = time.time() - time.monotonic()


def wall() -> float:
    """The time of day, also where a trial sets this process's clock wrong after its start."""
    return _BEGIN + time.monotonic()


@dataclass(kw_only=True)
class Intent:
    """One call of the client."""

    number: int
    call: str
    """`start`, `send`, `decide` or `cancel`."""

    run: str
    at: float
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    outcome: str | None = None
    """`acknowledged`, `refused` (with an error that says that nothing happened), or None: nobody knows."""

    error: str | None = None
    ended: float | None = None


class Journal:
    """Appends to a file; every line is on the disk before the next thing happens.

    Args:
        file: It is made.
    """

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self.intents: list[Intent] = []

    def intend(self, call: str, run: str, **facts: Any) -> Intent:
        """Note what is about to be called."""
        intent = Intent(number=len(self.intents), call=call, run=run, at=wall(), facts=facts)
        self.intents.append(intent)
        self._write({"intent": intent.number, "call": call, "run": run, "at": intent.at, **facts})
        return intent

    def outcome(self, intent: Intent, outcome: str | None, error: BaseException | None = None) -> None:
        """Note what came of it."""
        intent.outcome, intent.ended = outcome, wall()
        intent.error = repr(error) if error else None
        self._write({"outcome": intent.number, "was": outcome, "at": intent.ended, "error": intent.error})

    def of(self, call: str) -> list[Intent]:
        """All intents of one kind, in order."""
        return [intent for intent in self.intents if intent.call == call]

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._fd, json.dumps(line).encode() + b"\n")
        os.fdatasync(self._fd)
