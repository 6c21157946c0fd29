"""Which fault an attempt gets: a function of the seed and of what the attempt is, and of nothing else.

So the same seed gives the same faults in whatever order and process the attempts run. How many of them happen is
bounded by the profile, and that depends on time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from holdfast.chaos.profiles import Profile, profile_of

COMPENSATION: Final = ".compensate"
"""How the names of compensations end."""


class FaultKind(StrEnum):
    """What can happen to an attempt of a step, or to the connections of a proxy."""

    CRASH = "crash"
    TIMEOUT = "timeout"
    ERROR = "error"
    LATENCY = "latency"
    COMPENSATION = "compensation"

    PARTITION = "partition"
    """Nothing goes through, and what is tried is refused."""

    DELAY = "delay"
    """All that goes through comes later."""

    HALF_OPEN = "half_open"
    """Connections stay open, and nothing comes through."""

    LOST_REPLY = "lost_reply"
    """What was asked arrives, and the answer does not: the connection ends in its place."""


OF_STEPS: Final = (FaultKind.CRASH, FaultKind.TIMEOUT, FaultKind.ERROR, FaultKind.LATENCY)
OF_NETWORK: Final = (FaultKind.PARTITION, FaultKind.DELAY, FaultKind.HALF_OPEN, FaultKind.LOST_REPLY)

_LEAST_NETWORK: Final = timedelta(seconds=1)
_MOST_NETWORK: Final = timedelta(seconds=5)
"""How long a fault of the network lasts: connections that last for hours notice nothing shorter."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one attempt, or to the network."""

    kind: FaultKind
    after: bool = False
    """Whether it comes after the step's function has returned: its effect has happened, and its result is lost.
    Otherwise before the function is called."""

    duration: timedelta = timedelta(0)
    """Of latency, and of faults of the network."""


@dataclass(frozen=True)
class FaultPlan:
    """The faults of one seed.

    Args:
        profile: How often which comes; a name, or a profile of your own.
        seed: Any number.
    """

    profile: Profile
    seed: int

    def __init__(self, profile: Profile | str = "gentle", seed: int = 0) -> None:
        object.__setattr__(self, "profile", profile_of(profile))
        object.__setattr__(self, "seed", seed)

    def fault(
        self, run_id: str, step: str, call: str, attempt: int, *, compensation: bool | None = None
    ) -> Fault | None:
        """What happens to one attempt. The first kind that is drawn, of crash, timeout, error, latency.

        Args:
            run_id: Of the run.
            step: The step's name.
            call: Which call of the run, as `charge-1`: the id of the step's activity.
            attempt: From 1.
            compensation: Whether it undoes something. Default: told by the name.
        """
        profile, of = self.profile, (run_id, step, call, attempt)
        if compensation is None:
            compensation = step.endswith(COMPENSATION)
        for kind in OF_STEPS:
            if kind is FaultKind.ERROR and compensation:
                kind, likely = FaultKind.COMPENSATION, profile.compensation
            else:
                likely = float(getattr(profile, kind.value))
            if self._draw(kind.value, *of) >= likely:
                continue
            if kind is FaultKind.LATENCY:
                return Fault(kind=kind, duration=self._latency(*of))
            return Fault(kind=kind, after=self._draw("after", *of) < 0.5)
        return None

    def network_fault(self, interval: int) -> Fault | None:
        """What happens to the connections of a proxy in one interval.

        Args:
            interval: Its number since the proxy began, from 0.
        """
        if self._draw("network", interval) >= self.profile.network:
            return None
        kind = OF_NETWORK[int(self._draw("network kind", interval) * len(OF_NETWORK))]
        share = self._draw("network duration", interval)
        return Fault(kind=kind, duration=_LEAST_NETWORK + (_MOST_NETWORK - _LEAST_NETWORK) * share)

    def has_room(self, happened: Iterable[float], now: float) -> bool:
        """Whether the profile allows another fault now.

        Args:
            happened: When faults happened, in seconds of any one clock; those of the last interval suffice.
            now: The time now, by that clock.
        """
        seconds = self.profile.interval.total_seconds()
        most = self.profile.max_events
        return most is None or sum(now - at < seconds for at in happened) < most

    def _latency(self, *of: object) -> timedelta:
        least, most = self.profile.min_latency, self.profile.max_latency
        return least + (most - least) * self._draw("latency range", *of)

    def _draw(self, *of: object) -> float:
        """A number from 0 to 1, without 1, that these values always have."""
        text = json.dumps([self.seed, *of]).encode()
        digest = hashlib.blake2b(text, digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / (1 << 53)
