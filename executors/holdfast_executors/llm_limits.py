"""A token bucket per endpoint and model, fed by the endpoint's own headers. Each worker has its own."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from holdfast import RetryAfter
from holdfast.authoring.crowded import Crowded

LONGEST_WAIT: Final = timedelta(seconds=5)
"""A longer wait gives the worker's slot back: the attempt ends, and the next one comes when it is time."""

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")


def seconds_of(text: str) -> float | None:
    """`6m0s`, `1.5s`, `120ms` or bare seconds; None for anything else."""
    found = _DURATION.fullmatch(text.strip())
    try:
        if found is None or not any(found.groups()):
            return float(text)
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


@dataclass
class _Level:
    """How much is left of one thing, and how fast it comes back."""

    left: float
    most: float
    per_second: float
    at: float

    def now(self, at: float) -> float:
        return min(self.most, self.left + (at - self.at) * self.per_second)

    def take(self, amount: float, at: float) -> float:
        """Take it; the seconds until it is there."""
        self.left, self.at = self.now(at) - min(amount, self.most), at
        return -self.left / self.per_second if self.left < 0 else 0.0

    def give_back(self, amount: float) -> None:
        self.left += min(amount, self.most)


@dataclass
class Bucket:
    """What an endpoint still takes of requests for one model."""

    clock: Callable[[], float] = time.monotonic
    _levels: dict[str, _Level] = field(default_factory=dict[str, _Level])
    _closed_until: float = 0.0

    async def take(self, tokens: int, *, begun: bool) -> None:
        """Wait until a request may be sent.

        Args:
            tokens: About how many the request has.
            begun: Whether the attempt has done something, so that it counts.

        Raises:
            RetryAfter, Crowded: That takes more than five seconds.
        """
        now = self.clock()
        wait = self._closed_until - now
        amounts = {"requests": 1, "tokens": tokens}
        for name, level in self._levels.items():
            wait = max(wait, level.take(amounts[name], now))
        if wait > LONGEST_WAIT.total_seconds():
            for name, level in self._levels.items():
                level.give_back(amounts[name])
            why = f"the endpoint's rate limit leaves no room for {wait:.0f} s"
            raise (RetryAfter if begun else Crowded)(timedelta(seconds=wait), why)
        if wait > 0:
            await asyncio.sleep(wait)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take over what an answer tells of the limits."""
        for name in ("requests", "tokens"):
            most = seconds_of(headers.get(f"x-ratelimit-limit-{name}", ""))
            left = seconds_of(headers.get(f"x-ratelimit-remaining-{name}", ""))
            reset = seconds_of(headers.get(f"x-ratelimit-reset-{name}", ""))
            if (
                most is None
                or left is None
                or reset is None
                or not 0 <= left < most
                or not 0 < reset < 86_400
            ):
                continue
            rate = (most - left) / reset
            known = self._levels.get(name)
            if known is not None:  # requests that are under way are not in the headers yet
                left = min(left, max(known.now(self.clock()), left - most * 0.1))
            self._levels[name] = _Level(left=left, most=most, per_second=rate, at=self.clock())

    def close(self, delay: timedelta) -> None:
        """The endpoint asked to wait."""
        self._closed_until = max(self._closed_until, self.clock() + delay.total_seconds())
