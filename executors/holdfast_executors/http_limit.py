"""How many calls of a service all workers together make at a time, or in a time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, model_validator

from holdfast import InvalidConfiguration, Limit

if TYPE_CHECKING:
    from holdfast_executors.http_request import HttpConfig


class HttpLimit(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """What calls share with all others that have the key."""

    key: str = ""
    """Whatever has the same key shares the limit. Default: the URL's host and port."""
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    """How many are made at the same time. Default: no limit."""
    rate: str | None = None
    """How many begin in a second, a minute or an hour: `10/s`, `600/min`, `1000/h`. Default: no limit."""

    @model_validator(mode="after")
    def _limits_something(self) -> HttpLimit:
        try:
            Limit(key="any", concurrency=self.concurrency, rate=self.rate)
        except InvalidConfiguration as error:
            raise ValueError(error.message) from None
        return self


def limit_of(config: HttpConfig) -> Limit | None:
    """The limit of a call."""
    wanted = config.limit
    if wanted is None:
        return None
    return Limit(
        key=wanted.key or urlsplit(config.url).netloc.lower(),
        concurrency=wanted.concurrency,
        rate=wanted.rate,
    )
