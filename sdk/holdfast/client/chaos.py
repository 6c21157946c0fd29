"""Faults on purpose: started, stopped and counted while workers run."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.chaos.control import ChaosStats, Control, Order, check_allowed
from holdfast.chaos.plan import OF_NETWORK, FaultKind
from holdfast.chaos.profiles import Profile, profile_of
from holdfast.client.actions import recorded
from holdfast.errors import InvalidInput
from holdfast.options import check_duration
from holdfast.settings import load

if TYPE_CHECKING:
    from holdfast.client.client import Client

_LATENCY: Final = timedelta(milliseconds=500)
_NETWORK: Final = timedelta(seconds=5)


class Chaos:
    """`client.chaos`. What it says goes to all workers of the same home, which look once a second; those of a cluster
    must have `allow_chaos=True`, and the same `HOLDFAST_HOME` on the same machine."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def folder(self) -> Path:
        """Where workers look, and where they write down what happens."""
        files = self._client.files
        if files is not None:
            return files / "chaos"
        named = f"{self._client.address} {self._client.namespace}".encode()
        return load().home / "chaos" / hashlib.blake2b(named, digest_size=6).hexdigest()

    async def start(
        self,
        profile: Profile | str = "gentle",
        *,
        seed: int | None = None,
        allow_chaos: bool = False,
        by: str | None = None,
        reason: str = "",
    ) -> ChaosStats:
        """Let workers inject faults from now on, and begin the statistics anew.

        Args:
            profile: `"gentle"`, `"moderate"`, `"aggressive"`, or one of your own.
            seed: The same one gives the same faults to the same attempts. Default: one that is drawn.
            allow_chaos: Also in a cluster that is not on this machine.
            by, reason: For the record of actions. Default: the user of this machine; none.

        Raises:
            NotAllowed: The cluster is not on this machine.
            InvalidConfiguration: No profile has this name.
        """
        chosen = profile_of(profile)
        self._check(allow_chaos)
        drawn = secrets.randbelow(1_000_000) if seed is None else seed
        async with self._recorded("start", by, reason, profile=chosen.to_dict(), seed=drawn):
            await asyncio.to_thread(self._control().start, chosen, drawn)
        return await self.stats()

    async def stop(self, *, by: str | None = None, reason: str = "") -> ChaosStats:
        """Let no more faults happen, not even those of workers that have their own (`Worker(chaos=)`) until they are
        started again. What has begun goes on to its end. `by` and `reason` are for the record of actions."""
        async with self._recorded("stop", by, reason):
            await asyncio.to_thread(self._control().stop)
        return await self.stats()

    async def profile(self, profile: Profile | str, *, by: str | None = None, reason: str = "") -> ChaosStats:
        """Change how often which fault comes, of chaos that runs; the seed stays. `by` and `reason` are for the record
        of actions.

        Raises:
            InvalidInput: It does not run.
            InvalidConfiguration: No profile has this name.
        """
        chosen = profile_of(profile)
        async with self._recorded("change", by, reason, profile=chosen.to_dict()):
            await asyncio.to_thread(self._control().set_profile, chosen)
        return await self.stats()

    async def inject(
        self,
        kind: FaultKind | str,
        *,
        step: str | None = None,
        run: str | None = None,
        after: bool = False,
        duration: timedelta | None = None,
        allow_chaos: bool = False,
        by: str | None = None,
        reason: str = "",
    ) -> str:
        """Ask for one fault: it happens once, to the next attempt that it fits, whether chaos runs or not.

        Args:
            kind: `crash`, `timeout`, `error`, `latency`, `compensation`; or `partition`, `delay`, `half_open`,
                `lost_reply`, which a proxy does.
            step: Only to this step; a compensation is called `<step>.compensate`.
            run: Only to the run of this id.
            after: After the step's function has returned, so that its effect has happened and its result is lost.
            duration: Of latency (default 0.5 s) and of the network's faults (5 s).
            allow_chaos: Also in a cluster that is not on this machine.
            by, reason: For the record of actions. Default: the user of this machine; none.

        Returns:
            The id of what was asked for; `stats` tells whether it still waits.

        Raises:
            InvalidInput: There is no such kind, or an option does not go with it.
            NotAllowed: The cluster is not on this machine.
        """
        if kind not in set(FaultKind):
            raise InvalidInput(f"kind={kind!r}: use one of {', '.join(FaultKind)}")
        kind = FaultKind(kind)
        check_duration("duration", duration)
        lasting = kind is FaultKind.LATENCY or kind in OF_NETWORK
        if duration is not None and not lasting:
            raise InvalidInput(f"{kind} has no duration")
        if after and (kind is FaultKind.LATENCY or kind in OF_NETWORK):
            raise InvalidInput(f"after=True does not go with {kind}")
        if kind in OF_NETWORK and (step or run):
            raise InvalidInput(f"{kind} happens to all connections of a proxy: leave out step= and run=")
        self._check(allow_chaos)
        if duration is None and lasting:
            duration = _LATENCY if kind is FaultKind.LATENCY else _NETWORK
        order = Order(
            kind=kind,
            step=step,
            run_id=run,
            after=after,
            seconds=duration.total_seconds() if duration else 0.0,
        )
        facts = {"fault": kind.value, "step": step, "after": after or None, "order": order.id}
        told = {name: value for name, value in facts.items() if value is not None}
        async with self._recorded("inject", by, reason, run_id=run, **told):
            await asyncio.to_thread(self._control().add, order)
        return order.id

    async def stats(self) -> ChaosStats:
        """What is going on, and what has happened since the last start."""
        return await asyncio.to_thread(self._control().stats)

    def _recorded(
        self, what: str, by: str | None, reason: str, *, run_id: str | None = None, **facts: Any
    ) -> AbstractAsyncContextManager[dict[str, Any]]:
        named = f"{what} chaos"
        return recorded(self._client, named, run_id=run_id, subject="chaos", why=reason, by=by, **facts)

    def _check(self, allow_chaos: bool) -> None:
        check_allowed(self._client.address, allow_chaos=allow_chaos)

    def _control(self) -> Control:
        return Control(self.folder)
