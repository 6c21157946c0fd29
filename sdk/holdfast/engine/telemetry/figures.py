"""What a worker is doing, in figures: throughput, latency, failures, slots, lag, CPU and memory."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from holdfast.engine.telemetry.observing import RunEnd, StepEnd

WINDOW_SECONDS: Final = 10.0
"""What rates and latencies are about."""

_KEPT: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class WorkerFigures:
    """A worker now. Rates, latencies and lag are those of the last ten seconds."""

    steps_per_second: float
    runs_per_second: float
    p50_ms: float
    """Of attempts, in milliseconds."""
    p95_ms: float
    failed_count: int
    """Attempts that have failed since the worker began."""
    steps_count: int
    """Attempts that have ended since the worker began."""
    runs_count: int
    slots_used: int
    slots_count: int
    lag_ms: float
    """How long 95 of 100 attempts at most waited for a worker."""
    cpu_percent: float
    """Of one core, since the figures were last asked for."""
    memory_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


class Figures:
    """Counts what a worker does.

    Args:
        slots_count: How many steps may run at a time.
        clock: Seconds, monotonic.
    """

    def __init__(self, slots_count: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots_count, self._clock = slots_count, clock
        self._lock = threading.Lock()
        self._steps: deque[tuple[float, float, float | None]] = deque(maxlen=_KEPT)
        self._runs: deque[float] = deque(maxlen=_KEPT)
        self._used = self._ended = self._failed = self._run_count = 0
        self._began = clock()
        self._cpu = (self._began, time.process_time())

    def step_began(self, queue: str) -> None:
        """See `Observer`."""
        del queue
        with self._lock:
            self._used += 1

    def step_ended(self, end: StepEnd) -> None:
        """See `Observer`."""
        with self._lock:
            self._used -= 1
            self._ended += 1
            self._failed += end.outcome == "failed"
            self._steps.append((self._clock(), end.seconds, end.wait_seconds))

    def run_ended(self, end: RunEnd) -> None:
        """See `Observer`."""
        with self._lock:
            self._run_count += end.outcome != "continued"
            self._runs.append(self._clock())

    def now(self) -> WorkerFigures:
        """The figures at this moment."""
        now, spent = self._clock(), time.process_time()
        with self._lock:
            steps = [step for step in self._steps if step[0] > now - WINDOW_SECONDS]
            runs = sum(at > now - WINDOW_SECONDS for at in self._runs)
            full = len(self._steps) == _KEPT and len(steps) == _KEPT
            used, ended, failed, run_count = self._used, self._ended, self._failed, self._run_count
            last, self._cpu = self._cpu, (now, spent)
        window = min(WINDOW_SECONDS, max(now - self._began, 1.0))
        if full:  # more in the window than is kept
            window = max(now - steps[0][0], 0.001)
        lasted, waited = (
            sorted(step[1] for step in steps),
            sorted(step[2] for step in steps if step[2] is not None),
        )
        return WorkerFigures(
            steps_per_second=len(steps) / window,
            runs_per_second=runs / window,
            p50_ms=_quantile(lasted, 0.5) * 1000,
            p95_ms=_quantile(lasted, 0.95) * 1000,
            failed_count=failed,
            steps_count=ended,
            runs_count=run_count,
            slots_used=used,
            slots_count=self._slots_count,
            lag_ms=_quantile(waited, 0.95) * 1000,
            cpu_percent=100 * (spent - last[1]) / max(now - last[0], 0.001),
            memory_bytes=_memory_bytes(),
        )


def _quantile(values: Sequence[float], part: float) -> float:
    return values[min(int(len(values) * part), len(values) - 1)] if values else 0.0


def _memory_bytes() -> int:
    """What the process holds in memory; where the system does not say that, the most it has held, or 0."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
