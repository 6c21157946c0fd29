"""`Breaker`: when steps stop calling a service that fails, for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from holdfast.checks import check_duration
from holdfast.errors import InvalidConfiguration

_MOST: Final = 100
_LONGEST: Final = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """After so many failures in a row, over all workers, nobody calls for a while; then one call tries."""

    key: str
    """Whatever has the same key shares the breaker: the name of a service. `{name}` stands for the step's argument of
    that name, attributes included: `"bank-{order.bank}"`."""

    failures: int = 5
    """So many failures in a row, none older than `reset`, open it. 1 to 100."""

    reset: timedelta = timedelta(seconds=30)
    """How long it stays open until one call may try. At most an hour."""

    def __post_init__(self) -> None:
        if not self.key:
            raise InvalidConfiguration("key='': a breaker has a key")
        if not 1 <= self.failures <= _MOST:
            raise InvalidConfiguration(f"failures={self.failures!r}: use 1 to {_MOST}")
        check_duration("reset", self.reset)
        if self.reset > _LONGEST:
            raise InvalidConfiguration(f"reset={self.reset!r}: use at most {_LONGEST}")


NAMED_BREAKERS: Final[Mapping[str, Breaker]] = {
    "email": Breaker(key="email", failures=3, reset=timedelta(seconds=60)),
    "payment": Breaker(key="payment", failures=2, reset=timedelta(seconds=120)),
    "api": Breaker(key="api", failures=5, reset=timedelta(seconds=30)),
    "db": Breaker(key="db", failures=3, reset=timedelta(seconds=10)),
}
"""The breakers that `breaker="name"` may name. The name is their key."""


def breaker_of(value: Breaker | str | None) -> Breaker | None:
    """The breaker itself, or the one of that name.

    Raises:
        InvalidConfiguration: No breaker has that name.
    """
    if value is None or isinstance(value, Breaker):
        return value
    try:
        return NAMED_BREAKERS[value]
    except (KeyError, TypeError):
        known = ", ".join(NAMED_BREAKERS)
        raise InvalidConfiguration(
            f"breaker={value!r} is not known; use Breaker(key=..., failures=..., reset=...) or one of: {known}"
        ) from None
