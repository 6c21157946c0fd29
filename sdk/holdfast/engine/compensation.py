"""Undoing: what is registered before a step is scheduled, and runs when the run fails or is cancelled."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.authoring.registry import registry
from holdfast.authoring.step import COMPENSATION_RETRY
from holdfast.engine.data.refs import genuine_refs
from holdfast.options import StepOptions

COMPENSATING_MEMO = "holdfast.compensating"
UNDOABLE = "holdfast.undoable"
"""The header of a step that has a compensation."""
COMPENSATION_PREFIX = "compensate:"
"""Before the id of a call in that of what undoes it."""


@dataclass(kw_only=True)
class Undo:
    """One compensation that may have to run."""

    name: str
    """The type of the activity that undoes, or the name of the workflow."""
    step: str
    activity_id: str
    """The id of that activity, or of the run."""
    arguments: list[Payload]
    queue: str | None
    result: Payload | None = None
    completed_at: int = field(default=0)
    caller: asyncio.Task[Any] | None = None
    """The task that waits for the step, while it is open."""
    foreign: bool = False
    """Whether another run did what it undoes, so that it is not for this one to run."""

    def options(self) -> StepOptions:
        """In force for it."""
        step = registry().step(self.step)
        found = (
            step.compensation.options if step and step.compensation else StepOptions(retry=COMPENSATION_RETRY)
        )
        return dataclasses.replace(found, queue=self.queue, summary=f"undoes {self.step}")


class Compensations:
    """The open compensations of one run.

    Args:
        run: Runs one compensation as a step; raises when its attempts are used up.
    """

    def __init__(self, run: Callable[[Undo], Awaitable[None]]) -> None:
        self._run = run
        self._open: list[Undo] = []
        self._completed = 0
        self.running = False
        self.forgotten = False

    def __bool__(self) -> bool:
        return bool(self._open)

    def register(self, undo: Undo) -> None:
        """Before its step is scheduled."""
        self._open.append(undo)

    def completed(self, undo: Undo, result: Payload) -> None:
        """Its step completed."""
        self._completed += 1
        undo.result, undo.completed_at = result, self._completed

    def ended(self, undo: Undo) -> None:
        """Its step is no longer open, whatever came of it."""
        undo.caller = None

    def drop(self, undo: Undo) -> None:
        """Its step certainly had no effect."""
        self._open.remove(undo)

    def forget(self) -> None:
        """Nothing is undone: what has completed stays."""
        self._open.clear()
        self.forgotten = True

    def adopt(self, undos: Sequence[Undo]) -> None:
        """Add what undoes calls that completed before all of this execution, in the order in which they did."""
        for place, undo in enumerate(undos):
            undo.completed_at = place - len(undos)
        self._open[:0] = undos

    async def run_all(self) -> list[str]:
        """Run each once: unknown outcomes first, then in reverse order of completion. A cancel that arrives
        meanwhile does not stop it. Steps that are still open, as others of a `gather` that failed, are cancelled
        before, and their end is awaited: undoing what may still happen would undo nothing.

        Returns:
            One sentence for each that failed for good.
        """
        if not self._open:
            return []
        self.running = True
        workflow.upsert_memo({COMPENSATING_MEMO: True})
        task = asyncio.create_task(self._all())
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                # Of this run, not of the shielded task: compensation goes on to its end.
                continue
        failed = task.result()
        workflow.upsert_memo({COMPENSATING_MEMO: None})
        return failed

    async def _all(self) -> list[str]:
        still_open = [undo for undo in self._open if undo.caller is not None]
        for undo in still_open:
            if undo.caller is not None:
                undo.caller.cancel()
        if still_open:
            await workflow.wait_condition(lambda: all(undo.caller is None for undo in still_open))
        # Latest first; a step without an outcome counts as later than all that completed.
        latest = len(self._open) + self._completed
        order = sorted(
            enumerate(self._open), key=lambda item: (item[1].completed_at or latest, item[0]), reverse=True
        )
        failed: list[str] = []
        for _, undo in order:
            try:
                await self._run(undo)
            except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - user code; the others must run
                failed.append(f"{undo.activity_id}: {exc}")
            self._open.remove(undo)
        return failed

    def carry(self) -> list[dict[str, Any]]:
        """What the next execution must know, as JSON."""
        return [
            {
                "name": undo.name,
                "step": undo.step,
                "activity_id": undo.activity_id,
                "arguments": [payload.SerializeToString().hex() for payload in undo.arguments],
                "queue": undo.queue,
                "result": undo.result.SerializeToString().hex() if undo.result else None,
                "completed_at": undo.completed_at,
                # In sight, so that what they refer to is not taken for garbage.
                "refs": sorted(
                    sha256
                    for payload in (*undo.arguments, undo.result)
                    if payload
                    for sha256 in genuine_refs(payload)
                ),
            }
            for undo in self._open
        ]

    def restore(self, carried: Sequence[Mapping[str, Any]]) -> None:
        """Take over what the last execution carried."""
        for item in carried:
            result = item["result"]
            self._open.append(
                Undo(
                    name=item["name"],
                    step=item["step"],
                    activity_id=item["activity_id"],
                    arguments=[Payload.FromString(bytes.fromhex(payload)) for payload in item["arguments"]],
                    queue=item["queue"],
                    result=Payload.FromString(bytes.fromhex(result)) if result else None,
                    completed_at=item["completed_at"],
                )
            )
            self._completed = max(self._completed, item["completed_at"])
