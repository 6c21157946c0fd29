"""What both peers of a pair offer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Runner = Callable[[str, int], Awaitable[int]]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One peer: `run(kind, count)` runs a workflow of that kind to its end."""

    name: str
    run: Runner
