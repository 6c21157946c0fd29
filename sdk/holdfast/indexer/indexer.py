"""The indexer: one round after another, each finds what Temporal lists and the store does not have."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.client import Client

from holdfast.engine.embedded.home import Home
from holdfast.errors import HoldfastError
from holdfast.indexer.eager import Eager
from holdfast.indexer.firing import Firing
from holdfast.indexer.leases import RENEW, SHARDS, TERM, Leases
from holdfast.indexer.outages import note_outage
from holdfast.indexer.owner import claim
from holdfast.indexer.pruning import keep_pruned
from holdfast.indexer.round import BUSY, BUSY_SETTLE, SETTLE, Counts, Round
from holdfast.indexer.seen import Seen
from holdfast.indexer.set_back import mend_set_back
from holdfast.store.database import Database
from holdfast.store.retention import Retention

log = logging.getLogger("holdfast.indexer")

POLL: Final = timedelta(seconds=0.5)

QUIET_POLL: Final = timedelta(seconds=1)
"""The same where nothing has come for a while: nobody is there, and a battery may be."""

LONGEST_POLL: Final = timedelta(seconds=1)

_QUIET_ROUNDS: Final = 60
_PART: Final = 3
"""It pauses so many times as long as a round took: where others need the machine, rounds take long, and each costs."""

THOROUGH_EVERY: Final = timedelta(seconds=60)
"""How often a round begins earlier and leaves nothing for later."""

_PAUSE: Final = timedelta(minutes=10)
"""After this long, Temporal may have deleted what nobody has read."""

_ROUNDS: Final = 5
_BACK_OFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)


class Indexer:
    """Keeps a store up to date with one namespace of Temporal.

    Any number of them may share a database: each run is one indexer's at a time, and what they write is the same.
    Workflows do not know of it, and go on whatever happens to it.

    Args:
        client: Temporal's own client; its converter opens what a codec has encoded.
        database: The store.
        retention: How long what is kept; what is older is deleted once an hour. Default: see `Retention`.
        home: The home of an embedded server, where workers tell of runs as it happens. Default: there is none, and
            PostgreSQL passes it on.
    """

    def __init__(
        self,
        client: Client,
        database: Database,
        *,
        retention: Retention | None = None,
        home: Path | None = None,
    ) -> None:
        self._client = client
        self._database = database
        self._retention = retention or Retention()
        self._firing = Firing(client, database)
        self._seen = Seen()
        self._thorough_at: float | None = None
        self._up_to_date_at: float | None = None
        self._overdue = timedelta()
        self.counts = Counts()
        hints = None if home is None else Home(home).hints
        self._eager = Eager(client, database, counts=self.counts, folder=hints)
        self.problem: str | None = None
        """Why it does not come on at the moment, if it does not."""

    @property
    def lag(self) -> timedelta | None:
        """How far it is behind: the longer of the time since all that Temporal listed was stored, as far as it is this
        indexer's, and of that for which open executions wait to be looked at again; `None` before the first round."""
        at = self._up_to_date_at
        return None if at is None else max(timedelta(seconds=time.monotonic() - at), self._overdue)

    async def run(self) -> None:
        """Index until cancelled. Where Temporal or the database is away, it waits and tries again."""
        await self._until_ours()
        leases = Leases(self._database)
        held: frozenset[int] = frozenset()
        lease_until = 0.0
        failures = quiet = 0
        settle = SETTLE

        async def keep() -> None:
            nonlocal held, lease_until
            while True:
                try:
                    begun = time.monotonic()
                    held = await asyncio.to_thread(leases.renew)
                    lease_until = begun + TERM.total_seconds()
                except Exception as error:  # noqa: BLE001 - without leases it would do nothing, and say nothing
                    self._away(error)
                await asyncio.sleep(RENEW.total_seconds())

        pruning = keep_pruned(self._database, self._retention)
        helpers = [
            asyncio.create_task(work) for work in (keep(), self._firing.run(), self._eager.run(), pruning)
        ]
        try:
            while True:
                delay = POLL.total_seconds()
                try:
                    if held and time.monotonic() < lease_until:
                        begun = time.monotonic()
                        one = await self._round(held, settle=settle)
                        settle = BUSY_SETTLE if one.found >= BUSY else SETTLE
                        await self._eager.serve(held, wanted=one.heard)
                        quiet = 0 if one.found or one.overdue else quiet + 1
                        took = time.monotonic() - begun
                        shortest = POLL if quiet <= _QUIET_ROUNDS else QUIET_POLL
                        longest = LONGEST_POLL.total_seconds()
                        delay = min(max(shortest.total_seconds(), _PART * took), longest)
                        self.problem = None
                    failures = 0
                except HoldfastError as error:
                    self._away(error)
                    delay = _BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)]
                    failures += 1
                except Exception as error:  # an indexer that ends would be noticed by nobody
                    log.exception("a round of the indexer failed")
                    self.problem = f"{type(error).__name__}: {error}"
                    delay = _BACK_OFF_SECONDS[-1]
                await asyncio.sleep(delay)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
            with contextlib.suppress(HoldfastError):
                await asyncio.to_thread(leases.release)

    async def catch_up(self, *, show: Callable[[Counts], None] | None = None) -> None:
        """Index until a round finds nothing new, five at most. Does the work of other indexers too, which does no harm.

        Args:
            show: Called now and then.

        Raises:
            InvalidConfiguration: The database keeps the runs of another namespace.
            Unavailable: Temporal or the database does not answer.
        """
        everything = frozenset(range(SHARDS))
        # A busy namespace always has something new; what was there at the start is stored after the first round.
        for _ in range(_ROUNDS):
            self._thorough_at = None
            if not (await self._round(everything, settle=timedelta(), show=show)).found:
                return

    async def rebuild(self, *, show: Callable[[Counts], None] | None = None) -> None:
        """Read again all that Temporal has, and store it in the place of what was stored of it. What Temporal has
        deleted stays as it is, and so do figures of runs that were deleted here. Events are not told again: who listens
        has them already. May be broken off at any time, and others may read and write meanwhile.

        Args:
            show: Called now and then.

        Raises:
            InvalidConfiguration: The database keeps the runs of another namespace.
            Unavailable: Temporal or the database does not answer.
        """
        self._thorough_at = None
        await self._round(frozenset(range(SHARDS)), settle=timedelta(), anew=True, show=show)
        await self.catch_up(show=show)

    async def _until_ours(self) -> None:
        """Wait until the database is known to be this namespace's: of another one's, not even shares are taken."""
        failures = 0
        while True:
            try:
                return await claim(self._client, self._database)
            except Exception as error:  # noqa: BLE001 - an indexer that ends would be noticed by nobody
                self._away(error)
            await asyncio.sleep(_BACK_OFF_SECONDS[min(failures, len(_BACK_OFF_SECONDS) - 1)])
            failures += 1

    def _away(self, error: Exception) -> None:
        if self.problem is None:
            log.warning("the indexer waits: %s", error)
        self.problem = str(error)

    async def _round(
        self,
        shards: frozenset[int],
        *,
        settle: timedelta = SETTLE,
        anew: bool = False,
        show: Callable[[Counts], None] | None = None,
    ) -> Round:
        begun = time.monotonic()
        thorough = self._thorough_at is None or begun - self._thorough_at > THOROUGH_EVERY.total_seconds()
        if thorough:
            await claim(self._client, self._database)
        if self._up_to_date_at is None or begun - self._up_to_date_at > _PAUSE.total_seconds():
            await note_outage(self._client, self._database)
        if self._up_to_date_at is None:
            await mend_set_back(self._client, self._database)
        one = Round(
            self._client,
            self._database,
            shards,
            counts=self.counts,
            seen=self._seen,
            thorough=thorough,
            anew=anew,
            settle=settle,
            show=show,
        )
        await one.run()
        if thorough:
            self._thorough_at = begun
        self._up_to_date_at = begun
        self._overdue = one.overdue
        return one
