"""Which faults happen in this process: those of its own plan, those that it is told, and single ones."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from holdfast.chaos.control import Control, Order, Orders
from holdfast.chaos.plan import OF_NETWORK, Fault, FaultPlan
from holdfast.chaos.record import Injection
from holdfast.errors import HoldfastError

logger = logging.getLogger("holdfast.chaos")

_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What a fault may happen to."""

    run_id: str
    step: str
    call: str
    number: int


class Faults:
    """Chooses faults, and writes them down before they happen.

    Args:
        control: Where it is told what to do, and where what happens is written.
        plan: What happens until the first word from there. Default: nothing.
    """

    def __init__(self, control: Control, plan: FaultPlan | None = None) -> None:
        self._control = control
        self._own = plan
        self._orders = control.read()
        self._since = self._orders.changed
        self._looked = time.monotonic()
        self._told = False
        self._stamp = self._stamp_now()

    @property
    def plan(self) -> FaultPlan | None:
        """The plan in force."""
        orders = self._look()
        # What was said before this process began is older than what its own code says.
        if self._own is not None and orders.changed <= self._since:
            return self._own
        return orders.plan

    def of_attempt(self, attempt: Attempt) -> tuple[Fault, Order | None] | None:
        """What is to happen to an attempt, and the order if somebody has asked for it."""
        plan = self.plan
        for order in self._orders.single:
            if order.id not in self._control.record.done_orders and order.fits(attempt.run_id, attempt.step):
                return order.fault, order
        fault = plan and plan.fault(attempt.run_id, attempt.step, attempt.call, attempt.number)
        return (fault, None) if fault else None

    def of_network(self, interval: int) -> tuple[Fault, Order | None] | None:
        """What is to happen to the network.

        Args:
            interval: The number of the interval; -1 for what somebody has asked for only.
        """
        plan = self.plan
        for order in self._orders.single:
            if order.kind in OF_NETWORK and order.id not in self._control.record.done_orders:
                return order.fault, order
        fault = plan.network_fault(interval) if plan and interval >= 0 else None
        return (fault, None) if fault else None

    def begin(self, fault: Fault, order: Order | None, attempt: Attempt | None = None) -> bool:
        """Write a fault down, and only then let it happen. Blocks for some milliseconds.

        Returns:
            Whether it may happen: not where the profile's bound is reached, where another process has done what was
            asked for, or where it cannot be written.
        """
        record, plan = self._control.record, self.plan

        def made() -> Injection | None:
            now = datetime.now(UTC)
            if order is not None and order.id in record.done_orders:
                return None
            if order is None and not (plan and plan.has_room(record.times, now.timestamp())):
                return None
            return Injection(
                kind=fault.kind,
                at=now,
                run_id=attempt.run_id if attempt else "",
                step=attempt.step if attempt else "",
                call=attempt.call if attempt else "",
                attempt=attempt.number if attempt else 0,
                after=fault.after,
                seconds=fault.duration.total_seconds(),
                pid=os.getpid(),
                order=order.id if order else None,
            )

        try:
            return record.begin(made)
        except (OSError, HoldfastError) as error:
            self._tell(error)
            return False

    def completed(self, attempt: Attempt) -> None:
        """A step has completed, maybe after a fault. Blocks for some milliseconds."""
        self.mended(attempt.run_id, attempt.call)

    def mended(self, run_id: str = "", call: str = "") -> None:
        """What faults had happened to is as it should be; by default the network."""
        try:
            self._control.record.completed(run_id, call)
        except (OSError, HoldfastError) as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            logger.warning("no faults happen, since they cannot be written down: %s", error)

    def _look(self) -> Orders:
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._stamp = stamp
                self._orders = self._control.read()
        return self._orders

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            status = self._control.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns
