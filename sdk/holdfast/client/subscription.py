"""Named readers of events: how far each has come is kept in the database."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from holdfast.errors import InvalidInput, Unavailable
from holdfast.jsonable import Jsonable

if TYPE_CHECKING:
    from holdfast.client.store import Store

RESERVED: Final = "holdfast."
"""What the names of Holdfast's own subscriptions begin with, such as that of triggers."""

_SAVE_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Subscription(Jsonable):
    """How far a named reader has come."""

    name: str
    cursor: int
    """Of the last event that it has taken, or passed over."""

    updated: datetime
    """When it has last come on."""


def check_subscription(name: str) -> None:
    """Refuse a name that is not for users.

    Raises:
        InvalidInput: It is empty, or one of Holdfast's own.
    """
    if not name:
        raise InvalidInput("a subscription needs a name")
    if name.startswith(RESERVED):
        raise InvalidInput(f"subscription {name!r}: names that begin with {RESERVED!r} are Holdfast's own")


class Place:
    """How far the consumer of a subscription has come; nothing where there is none."""

    def __init__(self, store: Store, name: str | None, position: int) -> None:
        self._store = store
        self._name = name
        self._taken = self._kept = position
        self._kept_at = time.monotonic()
        self.first = True
        """Whether nothing was read yet."""

    async def taken(self, cursor: int | None) -> None:
        """The consumer has asked for the next one."""
        if cursor is not None:
            self._taken = cursor
        if time.monotonic() - self._kept_at > _SAVE_SECONDS:
            await self.keep()

    async def keep(self) -> None:
        """Write it down, if it has changed. What cannot be written comes again."""
        self._kept_at = time.monotonic()
        if self._name is None or self._taken == self._kept:
            return
        from holdfast.store.events import subscribe

        with contextlib.suppress(Unavailable):
            await self._store.call(subscribe, self._name, self._taken)
            self._kept = self._taken
