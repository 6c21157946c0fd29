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

_KEPT: Final = timedelta(seconds=30)
"""For how long a place is kept for somebody who does not come back in time."""

_PACE: Final = "pace"
"""The level that stands for a limit that an endpoint enforces and tells nothing about. It is felt for: each refusal
halves it, each answer makes it a little faster, and it goes when nobody waits."""

_FIRST_GAP: Final = timedelta(seconds=1)
_LONGEST_GAP: Final = timedelta(minutes=1)
_FASTER_PER_SECOND: Final = 0.1

_CAUTION: Final = 0.99
"""Times in headers are rounded."""

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
    """How much is left of one thing, places that are given away not counted, and how fast it comes back."""

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
class _Place:
    """When somebody who waits may send a request."""

    at: float
    amounts: Mapping[str, float]
    """What was taken for it, by level."""


@dataclass
class Bucket:
    """What an endpoint still takes of requests for one model.

    Whoever has to wait gets a place of their own: a moment, and their share of the limit. It is kept for them while
    they are away, so that however many wait, no more come at a time than the endpoint takes.
    """

    clock: Callable[[], float] = time.monotonic
    _levels: dict[str, _Level] = field(default_factory=dict[str, _Level])
    _places: dict[object, _Place] = field(default_factory=dict[object, _Place])
    _closed_until: float = 0.0

    async def take(self, tokens: int, *, begun: bool, holder: str | None = None) -> None:
        """Wait until a request may be sent.

        Args:
            tokens: About how many the request has.
            begun: Whether the attempt has done something, so that it counts.
            holder: Names a caller that comes back when it is told to: its place is kept. None: no place is kept.

        Raises:
            RetryAfter, Crowded: That takes more than five seconds.
        """
        key = holder or object()
        while (wait := self._wait(key, tokens)) > 0:
            if wait > LONGEST_WAIT.total_seconds():
                if holder is None:
                    self._leave(key)
                why = f"the endpoint's rate limit leaves no room for {wait:.0f} s"
                raise (RetryAfter if begun else Crowded)(timedelta(seconds=wait), why)
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                self._leave(key)
                raise
        del self._places[key]

    def refused(
        self, headers: Mapping[str, str], delay: timedelta, tokens: int, *, holder: str | None = None
    ) -> timedelta:
        """The endpoint asked to wait.

        Args:
            headers: Of its answer.
            delay: How long it asked for.
            tokens: About how many the request has.
            holder: See `take`.

        Returns:
            How long this caller has to wait: until the place that is now its own.
        """
        now = self.clock()
        self.learn(headers)
        if not self._levels:  # a limit that it enforces and tells nothing about
            gap = min(delay, _FIRST_GAP).total_seconds()
            self._levels[_PACE] = _Level(left=1, most=1, per_second=1 / gap, at=now)
        elif _PACE in self._levels and now > self._closed_until:
            slower = self._levels[_PACE].per_second / 2
            self._levels[_PACE].per_second = max(slower, 1 / _LONGEST_GAP.total_seconds())
        self._closed_until = max(self._closed_until, now + delay.total_seconds())
        late = self._closed_until - min(
            (place.at for place in self._places.values()), default=self._closed_until
        )
        for place in self._places.values():  # they stay in order
            place.at += max(0.0, late)
        for name, level in self._levels.items():
            if _number(headers, "remaining", name) is None or level.now(now) < _amount(name, tokens):
                first = min(_amount(name, tokens), level.most) - delay.total_seconds() * level.per_second
                level.left, level.at = min(level.now(now), first - self._given_away(name, level.most)), now
        if holder is None:
            return delay
        return max(delay, timedelta(seconds=self._wait(holder, tokens)))

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take over what an answer tells of the limits."""
        now = self.clock()
        if pace := self._levels.get(_PACE):
            pace.left, pace.at = pace.now(now), now
            pace.per_second += _FASTER_PER_SECOND
        for name in ("requests", "tokens"):
            most, left, reset = (_number(headers, part, name) for part in ("limit", "remaining", "reset"))
            if (
                most is None
                or left is None
                or reset is None
                or not 0 <= left < most
                or not 0 < reset < 86_400
            ):
                continue
            rate, known = (most - left) / reset, self._levels.get(name)
            given_away = self._given_away(name, most)
            if known is not None:
                # What is left is told in whole requests, so that each answer gives but a range.
                rate = min(rate, max(known.per_second / _CAUTION, (most - left - 1) / reset))
                # Requests that are under way are not in the headers yet.
                left = min(left, max(known.now(now) + given_away, left - most * 0.1))
            self._levels[name] = _Level(left=left - given_away, most=most, per_second=rate * _CAUTION, at=now)
            self._levels.pop(_PACE, None)

    def _wait(self, key: object, tokens: int) -> float:
        """Seconds until the place of this caller, who gets one if it has none."""
        now = self.clock()
        for other, place in list(self._places.items()):
            if other != key and place.at + _KEPT.total_seconds() < now:
                self._leave(other)
        if not self._places and now > self._closed_until:
            self._levels.pop(_PACE, None)
        found = self._places.get(key)
        if found is not None:
            return found.at - now
        amounts = {name: _amount(name, tokens) for name in ("requests", "tokens", _PACE)}
        at = max(now, self._closed_until)
        for name, level in self._levels.items():
            at = max(at, now + level.take(amounts[name], now))
        self._places[key] = _Place(at, amounts)
        return at - now

    def _leave(self, key: object) -> None:
        if place := self._places.pop(key, None):
            for name, level in self._levels.items():
                level.give_back(place.amounts[name])

    def _given_away(self, name: str, most: float) -> float:
        return sum(min(place.amounts[name], most) for place in self._places.values())


def _amount(name: str, tokens: int) -> float:
    return tokens if name == "tokens" else 1


def _number(headers: Mapping[str, str], part: str, name: str) -> float | None:
    return seconds_of(headers.get(f"x-ratelimit-{part}-{name}", ""))
