"""How running workers are told: a file in the home that they look at once a second, and one that tells what happened.

Files, since they need no database, are seen by every process of the machine, and are still there when a worker has been
killed. Workers on other machines get their chaos in code.
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from holdfast.chaos.plan import COMPENSATION, OF_NETWORK, Fault, FaultKind, FaultPlan
from holdfast.chaos.profiles import Profile
from holdfast.chaos.record import Injection, Record
from holdfast.errors import InvalidInput, NotAllowed
from holdfast.jsonable import Jsonable

MAX_ORDERS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Order:
    """One fault that somebody asked for: it happens once, to the first attempt that it fits."""

    id: str = field(default_factory=lambda: secrets.token_hex(4))
    kind: FaultKind
    run_id: str | None = None
    step: str | None = None
    after: bool = False
    seconds: float = 0.0

    def fits(self, run_id: str, step: str) -> bool:
        """Whether it is for an attempt of this step."""
        if self.kind in OF_NETWORK or (
            self.kind is FaultKind.COMPENSATION and not step.endswith(COMPENSATION)
        ):
            return False
        return self.run_id in (None, run_id) and self.step in (None, step)

    @property
    def fault(self) -> Fault:
        """What happens."""
        return Fault(kind=self.kind, after=self.after, duration=timedelta(seconds=self.seconds))


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What workers are told."""

    running: bool = False
    profile: Profile | None = None
    seed: int = 0
    changed: float = 0.0
    """When chaos was started, stopped or changed, in seconds since 1970; 0 if never."""

    single: tuple[Order, ...] = ()

    @property
    def plan(self) -> FaultPlan | None:
        """The faults that are to happen."""
        return FaultPlan(self.profile, self.seed) if self.running and self.profile is not None else None


@dataclass(frozen=True, kw_only=True)
class ChaosStats(Jsonable):
    """What chaos does, and what came of it since it was last started."""

    running: bool
    """Whether workers are told to inject faults; those with faults of their own, `Worker(chaos=)`, need not be."""

    profile: dict[str, Any] | None
    seed: int | None
    injected: dict[str, int]
    """Faults by kind."""

    recovered: dict[str, int]
    """Those of them whose step completed later, by kind."""

    pending: list[str]
    """Ids of single faults that were asked for and have not happened yet."""

    latest: list[Injection]
    """The last 20, newest first."""


class Control:
    """The files of one home.

    Args:
        folder: Where they lie; made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control.json"
        self.record = Record(folder)

    def read(self) -> Orders:
        """What workers are told now; nothing where that cannot be read."""
        try:
            told: dict[str, Any] = json.loads(self.path.read_bytes())
            profile = told.pop("profile")
            single = [Order(kind=FaultKind(order.pop("kind")), **order) for order in told.pop("single")]
            return Orders(
                **told, profile=None if profile is None else Profile.from_dict(profile), single=tuple(single)
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Orders()

    def start(self, profile: Profile, seed: int) -> None:
        """Tell workers to inject the faults of a plan, and begin the statistics anew."""
        with self.record.locked():
            self.record.begin_anew()
            self._write(Orders(running=True, profile=profile, seed=seed, changed=_now()))

    def stop(self) -> None:
        """Tell workers to stop; single faults that have not happened will not."""
        with self.record.locked():
            self._write(replace(self.read(), running=False, single=(), changed=_now()))

    def set_profile(self, profile: Profile) -> None:
        """Change how often which fault comes; the seed stays.

        Raises:
            InvalidInput: Chaos does not run.
        """
        with self.record.locked():
            orders = self.read()
            if not orders.running:
                raise InvalidInput("chaos does not run: start it with this profile")
            self._write(replace(orders, profile=profile, changed=_now()))

    def add(self, order: Order) -> None:
        """Ask for one fault.

        Raises:
            InvalidInput: A thousand wait already.
        """
        with self.record.locked():
            orders = self.read()
            waiting = [one for one in orders.single if one.id not in self.record.done_orders]
            if len(waiting) >= MAX_ORDERS:
                raise InvalidInput(f"{MAX_ORDERS} single faults wait already; `stop` forgets them")
            self._write(replace(orders, single=(*waiting, order)))

    def stats(self) -> ChaosStats:
        """What happened."""
        orders, record = self.read(), self.record
        record.refresh()
        return ChaosStats(
            running=orders.running,
            profile=orders.profile.to_dict() if orders.profile else None,
            seed=orders.seed if orders.profile else None,
            injected={kind.value: count for kind, count in sorted(record.injected.items())},
            recovered={kind.value: count for kind, count in sorted(record.recovered.items())},
            pending=[order.id for order in orders.single if order.id not in record.done_orders],
            latest=[*reversed(record.latest)],
        )

    def _write(self, orders: Orders) -> None:
        told = {**vars(orders), "profile": orders.profile.to_dict() if orders.profile else None}
        told["single"] = [vars(order) for order in orders.single]
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(told), "utf-8")
        os.replace(temporary, self.path)


def check_allowed(address: str, *, allow_chaos: bool) -> None:
    """Refuse chaos in a cluster that others may use.

    Args:
        address: Of Temporal, `host:port`.
        allow_chaos: What somebody has written in code.

    Raises:
        NotAllowed: It is not on this machine, and nobody has allowed it.
    """
    if not allow_chaos and not is_local(address):
        raise NotAllowed(
            f"chaos would hit the cluster at {address}, which is not on this machine: only allow_chaos=True "
            "in code allows it"
        )


def is_local(address: str) -> bool:
    """Whether an address is one of this machine's own. A tunnel to another machine looks the same."""
    host = address.rpartition("//")[2].rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _now() -> float:
    return datetime.now(UTC).timestamp()
