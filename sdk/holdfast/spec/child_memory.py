"""A bound on the memory of processes that evaluate what strangers have written."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

MAX_MEMORY_BYTES: Final = 2 * 1024**3
"""The address space of one process, where the system can limit it."""


def limit_memory(pid: int) -> None:
    """Limit the memory of a child process from outside, so that it need not import anything for that."""
    if sys.platform == "linux":
        import resource

        limits = (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES)
        with contextlib.suppress(OSError, ValueError):  # it has ended already, or has a smaller limit
            resource.prlimit(pid, resource.RLIMIT_AS, limits)
