"""What ends an execution of a DAG early: a full history, after which it continues as new, and a spent budget."""

from __future__ import annotations

from temporalio import workflow

from holdfast.engine.dag.state import NodeView
from holdfast.errors import BudgetExceeded
from holdfast.spec.model import BudgetSpec

_SOFT_EVENTS, _HARD_EVENTS = 5_000, 10_000
"""Above the first, a run continues as new when nothing but waits is open; above the second it starts no more nodes,
so that this moment comes. Temporal ends a run at 51,200 events."""

_HARD_BYTES = 10 * 1024 * 1024

_EVENTS_OF_A_CALL = 6


class Limits:
    """The limits of one execution.

    Args:
        budget: Of the run.
        usage: What its nodes have used up, in all executions.

    Attributes:
        closing: Whether no more nodes start.
        suspending: Waits that were ended only to begin anew in the next execution.
        expected: Calls that running maps will still make, by node.
    """

    def __init__(self, budget: BudgetSpec | None, usage: dict[str, float]) -> None:
        self.closing = False
        self.suspending: set[str] = set()
        self.expected: dict[str, int] = {}
        self.usage = usage
        self._bounds: dict[str, float | None] = {}
        if budget is not None:
            seconds = budget.max_time.total_seconds() if budget.max_time else None
            self._bounds = {"cost_usd": budget.max_cost_usd, "tokens": budget.max_tokens, "seconds": seconds}

    def full(self, *, only_waits: bool) -> bool:
        """Whether the history has become long; then `closing` is set.

        Args:
            only_waits: Whether nothing is open that would be lost.
        """
        info = workflow.info()
        length: int = info.get_current_history_length()
        expected = length + _EVENTS_OF_A_CALL * sum(self.expected.values())
        if (
            expected >= _HARD_EVENTS
            or info.get_current_history_size() >= _HARD_BYTES
            or (only_waits and length >= _SOFT_EVENTS)
        ):
            self.closing = True
        return self.closing

    def spend_time(self, view: NodeView) -> None:
        """Count the time of a node that has completed."""
        if view.started and view.closed:
            spent = (view.closed - view.started).total_seconds()
            self.usage["seconds"] = self.usage.get("seconds", 0) + spent

    def check(self, node: str) -> None:
        """Refuse to start a node beyond the budget.

        Raises:
            BudgetExceeded: It is used up.
        """
        for unit, bound in self._bounds.items():
            spent = self.usage.get(unit, 0)
            if bound is not None and spent >= bound:
                raise BudgetExceeded(
                    f"the budget of {bound:g} {unit} is used up ({spent:g}): node {node!r} is not started",
                    unit=unit,
                    bound=bound,
                    spent=spent,
                )
