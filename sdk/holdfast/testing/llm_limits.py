"""The rate limit of a `FakeLLM`, with the headers that tell of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from holdfast.testing.llm_answers import LLMFault


@dataclass(frozen=True, kw_only=True)
class LLMRateLimit:
    """So many requests in so much time; they come back one by one."""

    requests: int
    """How many may come at once."""

    per: timedelta
    """The time in which all of them come back."""


class Limiter:
    """Counts requests.

    Args:
        limit: How many it takes.
        clock: Seconds.
    """

    def __init__(self, limit: LLMRateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._left = float(limit.requests)
        self._at = clock()
        self._lock = threading.Lock()

    def take(self) -> tuple[dict[str, str], LLMFault | None]:
        """Count a request; its headers, and a 429 if it is one too many."""
        limit = self._limit
        each = limit.per.total_seconds() / limit.requests
        with self._lock:
            now = self._clock()
            self._left = min(limit.requests, self._left + (now - self._at) / each)
            self._at = now
            allowed = self._left >= 1
            self._left -= allowed
            left = self._left
        headers = {
            "x-ratelimit-limit-requests": str(limit.requests),
            "x-ratelimit-remaining-requests": str(int(left)),
            "x-ratelimit-reset-requests": _written((limit.requests - left) * each),
        }
        wait = (1 - left) * each
        return headers, None if allowed else LLMFault.rate_limited(f"{wait:.3f}")


def _written(seconds: float) -> str:
    """As the API writes durations: `120ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{int(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:.3g}s" if minutes else f"{rest:.3g}s"
