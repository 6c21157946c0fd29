"""Whether a run begins new work: somebody may pause it, and the run that started it holds it while it is paused too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError

from holdfast.engine.inbox import PAUSED, searchable

HOLD_SIGNAL, RELEASE_SIGNAL = "holdfast.hold", "holdfast.release"
"""From a run to its children. Other signals than a person's, so that a child which somebody has paused stays so when
its parent goes on."""

ChildHandle = workflow.ChildWorkflowHandle[Any, Any]


@dataclass(kw_only=True, eq=False)
class _Child:
    handle: ChildHandle
    is_told: bool = False
    """Whether the last that it was told is to hold."""
    telling: asyncio.Task[None] | None = None


class Pausing:
    """What holds one run, and through it its children."""

    def __init__(self) -> None:
        self._own: str | None = None
        self._parents: str | None = None
        self._children: dict[ChildHandle, _Child] = {}

    @property
    def reason(self) -> str | None:
        """Why nothing new begins; None if something may."""
        return self._own if self._own is not None else self._parents

    def pause(self, reason: str) -> None:
        """Somebody pauses it."""
        self._own = reason
        self._changed()

    def resume(self) -> None:
        """Somebody lets it go on, also where its parent holds it."""
        self._own = self._parents = None
        self._changed()

    def hold(self, reason: str) -> None:
        """Its parent is paused."""
        self._parents = reason
        self._changed()

    def release(self) -> None:
        """Its parent goes on."""
        self._parents = None
        self._changed()

    def begun(self, handle: ChildHandle) -> None:
        """A child has started, perhaps since the run was paused."""
        self._children[handle] = child = _Child(handle=handle)
        self._tell(child)

    def ended(self, handle: ChildHandle) -> None:
        """A child has ended."""
        self._children.pop(handle, None)

    def carry(self) -> dict[str, Any]:
        """What the next execution must know, as JSON."""
        held = {"held": self._parents} if self._parents is not None else {}
        return {"paused": self._own, **held}

    def restore(self, carried: Mapping[str, Any]) -> None:
        """Take over what the last execution carried."""
        self._own, self._parents = carried.get("paused"), carried.get("held")

    def _changed(self) -> None:
        if searchable():
            change = PAUSED.value_set(self.reason is not None)
            workflow.upsert_search_attributes([change])  # pyright: ignore[reportUnknownMemberType]
        for child in list(self._children.values()):
            self._tell(child)

    def _tell(self, child: _Child) -> None:
        if child.telling is None and child.is_told != (self.reason is not None):
            child.telling = asyncio.create_task(self._tell_until_it_knows(child))

    async def _tell_until_it_knows(self, child: _Child) -> None:
        # One signal after the other: the server may deliver two that were sent together in any order.
        try:
            while child.handle in self._children and child.is_told != (self.reason is not None):
                hold = self.reason is not None
                note = {"reason": self.reason or "", "by": f"its parent {workflow.info().workflow_id}"}
                await child.handle.signal(HOLD_SIGNAL if hold else RELEASE_SIGNAL, note)
                child.is_told = hold
        except FailureError as exc:
            workflow.logger.debug("a child was not told, as it has ended: %s", exc)
        finally:
            child.telling = None
