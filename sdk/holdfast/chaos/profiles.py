"""How often which fault comes: three profiles, and whatever you make yourself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final, cast

from holdfast.checks import check_name
from holdfast.errors import InvalidConfiguration

PROBABILITIES: Final = ("crash", "timeout", "error", "latency", "compensation", "network")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How often which fault comes. Probabilities are of one attempt of a step, from 0 to 1, and of `network` of one
    interval of the proxy.

    Raises:
        InvalidConfiguration: A value that cannot be.
    """

    name: str = "custom"
    crash: float = 0.0
    """The worker's process is killed."""

    timeout: float = 0.0
    """The attempt goes silent until Temporal gives it up."""

    error: float = 0.0
    """The attempt fails, and may be tried again. Attempts of compensations have `compensation` in its place."""

    latency: float = 0.0
    """The attempt begins later."""

    min_latency: timedelta = timedelta(milliseconds=100)
    max_latency: timedelta = timedelta(milliseconds=500)
    compensation: float = 0.0
    """An attempt of a compensation fails, and may be tried again."""

    network: float = 0.0
    """The proxy disturbs the connections that go through it."""

    interval: timedelta = timedelta(seconds=10)
    """The length of time for which faults are counted."""

    max_events: int | None = 1
    """Faults in any one interval, of all workers together; what would be more does not happen. None: no bound, so that
    which faults happen does not depend on time."""

    def __post_init__(self) -> None:
        check_name("name", self.name, error=InvalidConfiguration)
        for name in PROBABILITIES:
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InvalidConfiguration(f"{name}={value!r} is no probability: use 0 to 1")
        for name in ("min_latency", "max_latency", "interval"):
            value = getattr(self, name)
            if not isinstance(value, timedelta):
                raise InvalidConfiguration(f"{name}={value!r} is no timedelta")
        if not timedelta(0) <= self.min_latency <= self.max_latency:
            raise InvalidConfiguration(
                f"min_latency={self.min_latency} to max_latency={self.max_latency} is no range of durations"
            )
        if self.interval <= timedelta(0):
            raise InvalidConfiguration(f"interval={self.interval}: use more than 0")
        most = cast("object", self.max_events)
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise InvalidConfiguration(f"max_events={most!r}: use 1 or more, or None for no bound")

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; durations in seconds."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: v.total_seconds() if isinstance(v, timedelta) else v for name, v in found.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Profile:
        """The profile of which `to_dict` made these values.

        Raises:
            InvalidConfiguration: Values that cannot be, or names that no profile has.
        """
        durations = {field.name for field in fields(cls) if field.type == "timedelta"}
        known, given = [field.name for field in fields(cls)], dict[str, Any]()
        for name, value in values.items():
            if name not in known:
                raise InvalidConfiguration(f"a profile has no {name!r:.100}; it has {', '.join(known)}")
            try:
                given[name] = timedelta(seconds=value) if name in durations else value
            except (TypeError, ValueError, OverflowError):
                raise InvalidConfiguration(f"{name}={value!r:.100}: use a number of seconds") from None
        return cls(**given)


GENTLE: Final = Profile(
    name="gentle",
    crash=0.05,
    timeout=0.03,
    error=0.08,
    latency=0.10,
    compensation=0.02,
    network=0.05,
)

MODERATE: Final = Profile(
    name="moderate",
    crash=0.15,
    timeout=0.10,
    error=0.20,
    latency=0.25,
    min_latency=timedelta(milliseconds=200),
    max_latency=timedelta(seconds=2),
    compensation=0.08,
    network=0.10,
    interval=timedelta(seconds=5),
    max_events=3,
)

AGGRESSIVE: Final = Profile(
    name="aggressive",
    crash=0.30,
    timeout=0.20,
    error=0.35,
    latency=0.40,
    min_latency=timedelta(milliseconds=500),
    max_latency=timedelta(seconds=5),
    compensation=0.15,
    network=0.20,
    interval=timedelta(seconds=2),
    max_events=5,
)

PROFILES: Final = {profile.name: profile for profile in (GENTLE, MODERATE, AGGRESSIVE)}


def profile_of(chosen: str | Profile) -> Profile:
    """A profile, or that of a name.

    Raises:
        InvalidConfiguration: No profile has this name.
    """
    if isinstance(chosen, Profile):
        return chosen
    if chosen not in PROFILES:
        raise InvalidConfiguration(f"profile={chosen!r}: use {', '.join(PROFILES)}, or a Profile of your own")
    return PROFILES[chosen]
