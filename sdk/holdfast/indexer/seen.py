"""Which closed executions this indexer has listed and stored lately. Where Temporal counts as many, they need not be
listed again: that costs the server a hundred times as much as counting."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from datetime import UTC, datetime

from temporalio.api.workflow.v1 import WorkflowExecutionInfo


class Seen:
    """By the time when they closed. Empty at first, and after a change of what it rests on."""

    def __init__(self) -> None:
        self._closed: list[tuple[datetime, str]] = []
        self._basis: object = None

    def rest_on(self, basis: object) -> None:
        """Forget all if this is another one than before: another store, or other runs that are this indexer's."""
        if basis != self._basis:
            self._closed.clear()
            self._basis = basis

    def count(self, begin: datetime, end: datetime) -> int:
        """How many closed from `begin` on and before `end`."""
        return bisect_left(self._closed, (end, "")) - bisect_left(self._closed, (begin, ""))

    def listed(self, begin: datetime, found: Collection[tuple[datetime, str]], *, keep: datetime) -> None:
        """All that closed at `begin` or later was listed, and is stored.

        Args:
            begin: That time.
            found: When each closed, and its id; without those before `keep`.
            keep: What closed before is forgotten.
        """
        known = self._closed[bisect_left(self._closed, (keep, "")) : bisect_left(self._closed, (begin, ""))]
        self._closed = known + sorted(found)


def closing(info: WorkflowExecutionInfo) -> tuple[datetime, str]:
    """When a listed execution closed, and its id."""
    return info.close_time.ToDatetime(UTC), info.execution.run_id
