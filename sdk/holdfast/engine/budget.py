"""What a run may use up: reserved when a call starts, settled when it ends, and raised by a person."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow

from holdfast.authoring.waits import Decision
from holdfast.engine.failures import failed_usage
from holdfast.engine.waiting import Waiting
from holdfast.errors import BudgetExceeded
from holdfast.spec.model import BudgetSpec

APPROVAL = "budget"
"""The name of the decision that a run waits for whose budget is used up."""

_REPORTED = ("cost_usd", "tokens")
"""Units that only the end of a call tells."""


@dataclass(frozen=True, kw_only=True)
class BudgetDecision(Decision):
    """Approved without a new limit, as much again is granted of what was used up."""

    max_cost_usd: float | None = None
    """The new limit of money, in US dollars."""
    max_tokens: int | None = None
    """The new limit of tokens."""
    max_calls: int | None = None
    """The new limit of calls."""
    max_time: timedelta | None = None
    """The new limit of time."""


class Budget:
    """The budget of one run, shared by all that it calls.

    A call reserves the most that one of its kind has used so far, so that many at once do not overshoot together. Of
    the first one of a kind nothing is known: it goes alone.

    Args:
        spec: The limits at the start; None counts only.
        usage: What was used up, in all executions of the run; counted on.
        bounds: The limits now, by unit; filled at the start of a run.
        waiting: How the run waits for people.
    """

    def __init__(
        self,
        spec: BudgetSpec | None = None,
        usage: dict[str, float] | None = None,
        bounds: dict[str, float] | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self.usage = {} if usage is None else usage
        self._granted = {} if spec is None else _bounds(spec)
        self._bounds = {} if bounds is None else bounds
        self._bounds |= {unit: self._bounds.get(unit, bound) for unit, bound in self._granted.items()}
        self._asks = spec is not None and spec.when_exceeded == "pause"
        self._waiting = waiting
        self._most: dict[str, dict[str, float]] = {}
        self._open: Counter[str] = Counter()
        self._reserved: dict[str, float] = {}
        self._changes = 0
        self._asking = False
        self._refusal = ""

    def lacks(self, kind: str, count: int = 1) -> str | None:
        """The unit of which too little is left for so many calls of a kind."""
        if not self._bounds:
            return None
        expected = self._expected(kind, count)
        for unit, bound in self._bounds.items():
            taken = self.usage.get(unit, 0) + self._reserved.get(unit, 0)
            more = expected.get(unit, 0)
            unknown = kind not in self._most and unit in _REPORTED
            if more and taken + more > bound + 1e-9:
                return unit
            if unknown and (taken >= bound or self._open[kind]):
                return unit
            if unit == "seconds" and taken >= bound:
                return unit
        return None

    async def admit(self, kind: str, where: str, count: int = 1) -> None:
        """Wait until calls of a kind may start: for what others leave over, or for a person.

        Args:
            kind: What is called.
            where: What wants to call it, for messages.
            count: How many calls there are.

        Raises:
            BudgetExceeded: The budget is used up, and nobody raises it.
        """
        while unit := self.lacks(kind, count):
            seen = self._changes
            if not self._refusal and (self._asking or self._may_settle(unit)):
                await workflow.wait_condition(lambda seen=seen: self._changes != seen)  # type: ignore[misc]
            elif self._asks and not self._refusal:
                await self._ask(unit, where)
            else:
                bound, spent = self._bounds[unit], self.usage.get(unit, 0)
                raise BudgetExceeded(
                    f"the budget of {bound:g} {unit} is used up ({spent:g}): {where} is not started{self._refusal}",
                    unit=unit,
                    bound=bound,
                    spent=spent,
                )

    @contextmanager
    def hold(self, kind: str, count: int = 1) -> Generator[dict[str, float]]:
        """Reserve for calls that were admitted, and settle at their end.

        Yields:
            Where to put what they used up, by unit. Without `seconds` their duration counts, without `calls` their
            number.
        """
        reserved = self._expected(kind, count)
        used: dict[str, float] = {}
        started = workflow.now()
        self._reserve(reserved, 1)
        self._open[kind] += 1
        try:
            yield used
        except GeneratorExit:  # a stopped worker discards the run
            raise
        except (Exception, asyncio.CancelledError) as exc:
            used.update(failed_usage(exc))
            self._settle(kind, count, reserved, used, workflow.now() - started)
            raise
        self._settle(kind, count, reserved, used, workflow.now() - started)

    def _settle(
        self, kind: str, count: int, reserved: dict[str, float], used: dict[str, float], took: timedelta
    ) -> None:
        used.setdefault("calls", count)
        used.setdefault("seconds", took.total_seconds())
        most = self._most.setdefault(kind, {})
        for unit, amount in used.items():
            self.usage[unit] = self.usage.get(unit, 0) + amount
            if unit in _REPORTED:
                most[unit] = max(most.get(unit, 0), amount / count)
        self._reserve(reserved, -1)
        self._open[kind] -= 1
        self._changes += 1

    def _reserve(self, amounts: Mapping[str, float], sign: int) -> None:
        for unit, amount in amounts.items():
            self._reserved[unit] = self._reserved.get(unit, 0) + sign * amount

    def _expected(self, kind: str, count: int) -> dict[str, float]:
        most = self._most.get(kind, {})
        return {"calls": float(count)} | {unit: amount * count for unit, amount in most.items()}

    def _may_settle(self, unit: str) -> bool:
        """Whether calls that are open may use up less than is reserved for them."""
        return any(self._open.values()) and (
            self.usage.get(unit, 0) < self._bounds[unit] and unit in _REPORTED
        )

    async def _ask(self, unit: str, where: str) -> None:
        assert self._waiting is not None
        bound = self._bounds[unit]
        taken = self.usage.get(unit, 0) + self._reserved.get(unit, 0)
        self._asking = True
        try:
            decision: BudgetDecision = await self._waiting.approval(
                f"The budget of {bound:g} {unit} does not suffice for {where}: {taken:g} are taken. Raise it?",
                BudgetDecision,
                None,
                APPROVAL,
            )
        finally:
            self._asking = False
            self._changes += 1
        if not decision.approved:
            by = f" by {decision.by}" if decision.by else ""
            said = f": {decision.comment}" if decision.comment else ""
            self._refusal = f"; raising it was refused{by}{said}"
            return
        raised = {
            "cost_usd": decision.max_cost_usd,
            "tokens": decision.max_tokens,
            "calls": decision.max_calls,
            "seconds": decision.max_time.total_seconds() if decision.max_time is not None else None,
        }
        given = {name: float(limit) for name, limit in raised.items() if limit is not None}
        self._bounds.update(given or {unit: bound + self._granted[unit]})


def _bounds(spec: BudgetSpec) -> dict[str, float]:
    seconds = spec.max_time.total_seconds() if spec.max_time else None
    every = {
        "cost_usd": spec.max_cost_usd,
        "tokens": spec.max_tokens,
        "calls": spec.max_calls,
        "seconds": seconds,
    }
    return {unit: float(bound) for unit, bound in every.items() if bound is not None}
