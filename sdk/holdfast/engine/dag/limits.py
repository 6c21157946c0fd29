"""What ends an execution of a DAG early: a full history, after which it continues as new."""

from __future__ import annotations

from temporalio import workflow

_SOFT_EVENTS, _HARD_EVENTS = 5_000, 10_000
"""Above the first, a run continues as new when nothing but waits is open; above the second it starts no more nodes,
so that this moment comes. Temporal ends a run at 51,200 events."""

_HARD_BYTES = 10 * 1024 * 1024

_EVENTS_OF_A_CALL = 6


class Limits:
    """The limits of one execution.

    Attributes:
        closing: Whether no more nodes start.
        suspending: Waits that were ended only to begin anew in the next execution.
        expected: Calls that running maps will still make, by node.
    """

    def __init__(self) -> None:
        self.closing = False
        self.suspending: set[str] = set()
        self.expected: dict[str, int] = {}

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

    def fits(self, calls: int) -> bool:
        """Whether a map of so many calls may begin beside others; if not, `closing` is set."""
        length: int = workflow.info().get_current_history_length()
        expected = length + _EVENTS_OF_A_CALL * (sum(self.expected.values()) + calls)
        if self.expected and expected >= _HARD_EVENTS:
            self.closing = True
        return not self.closing
