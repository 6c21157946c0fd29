"""The circuit breaker of a service, as a call states it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

from holdfast import Breaker
from holdfast.spec.duration import Duration

if TYPE_CHECKING:
    from holdfast_executors.http_request import HttpConfig

_LONGEST = timedelta(hours=1)


class HttpBreaker(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """After failures in a row nobody who has the key calls for a while."""

    key: str = ""
    """Whatever has the same key shares the breaker. Default: the URL's host and port."""
    failures: int = Field(default=5, ge=1, le=100)
    """So many failures in a row, none older than `reset`, open it."""
    reset: Duration = timedelta(seconds=30)
    """How long it stays open until one call may try, at most an hour. Written `30s`, `2m` or in seconds."""

    @field_validator("reset")
    @classmethod
    def _within_an_hour(cls, value: timedelta) -> timedelta:
        if not timedelta(0) < value <= _LONGEST:
            raise ValueError("use more than 0 and at most an hour")
        return value


def breaker_of(config: HttpConfig) -> Breaker | None:
    """The breaker of a call."""
    wanted = config.breaker
    if wanted is None:
        return None
    return Breaker(
        key=wanted.key or urlsplit(config.url).netloc.lower(), failures=wanted.failures, reset=wanted.reset
    )
