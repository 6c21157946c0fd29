"""What a run calls: steps, children and, when it fails, what undoes its steps."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from holdfast.authoring.step import Step
from holdfast.authoring.workflow import Workflow
from holdfast.engine.children import MAP_WORKFLOW, child_run_id, run_child
from holdfast.engine.compensation import COMPENSATION_PREFIX, Compensations, Undo
from holdfast.engine.data.in_workflow import decode_in_workflow, encode_argument
from holdfast.engine.data.step_data import INLINE_BYTES, LIMIT_BYTES
from holdfast.engine.data.values import megabytes
from holdfast.engine.ending import cancels
from holdfast.engine.failures import outcome_unknown, step_failed
from holdfast.engine.full import full
from holdfast.engine.inbox import searchable
from holdfast.engine.leftovers import UndoOf, left_to_undo
from holdfast.engine.pausing import Pausing
from holdfast.engine.payloads import take_usage
from holdfast.engine.reuse import Reuse
from holdfast.engine.scheduling import run_local, run_plain
from holdfast.engine.start_memo import spec_memo
from holdfast.engine.task_budget import LocalBudget, TaskBudget
from holdfast.errors import InvalidWorkflow, PayloadTooLarge, RunTerminated
from holdfast.options import MINUTE, StepOptions

if TYPE_CHECKING:
    from pydantic import TypeAdapter

CHECKPOINT = "holdfast.checkpoint"
"""The no-op step that closes a full workflow task."""


class Calls:
    """The steps and children of one run: within the budget of a workflow task, held while the run is paused, and
    undone at its end when it fails.

    Attributes:
        ordinals: How often each step, child and approval was called; part of ids, and carried over continue-as-new.
        pausing: What holds new calls.
        usage: What steps and children report to have used up, by unit.
        undo_of: What undoes calls of nodes that an earlier execution made; see `left_to_undo`.

    Args:
        stored: Whether large payloads go to a storage.
        restart: See `spec_memo`.
        reuse: What the run was given of an earlier execution.
    """

    def __init__(self, *, stored: bool, restart: str | None = None, reuse: Reuse | None = None) -> None:
        self.ordinals: Counter[str] = Counter()
        self.pausing = Pausing()
        self.usage: dict[str, float] = {}
        self.compensations = Compensations(self._compensate)
        self._stored = stored
        self.restart = restart
        self.reuse = reuse
        self.undo_of: UndoOf | None = None
        self._budget = TaskBudget(self._close_task)
        self._local = LocalBudget(self._close_task, stored=stored)

    async def call_step(self, step: Step[..., Any], values: Sequence[Any]) -> Any:
        """Schedule a step and wait for its result.

        Raises:
            StepFailed: The attempts are used up, or it failed for good.
            InvalidInput: An argument cannot travel.
        """
        converter = workflow.payload_converter()
        payloads = [
            self.encode(value, None, f"Argument {name!r} of step {step.name!r}")
            for name, value in zip(step.signature.names, values, strict=True)
        ]
        self.ordinals[step.name] += 1
        call_id = self.own(f"{step.name}-{self.ordinals[step.name]}")
        undo = self._undo(step, call_id, payloads)
        payload = await self.call(step.name, call_id, payloads, step.options, undo=undo, step=step.name)
        payload = take_usage(payload, self.usage)
        return decode_in_workflow(
            payload, step.signature.result, converter, where=f"The result of step {step.name!r}"
        )

    def own(self, call_id: str) -> str:
        """The id of a call, made different from that of the same call before the run was started again."""
        return f"{call_id}@{self.restart}" if self.restart else call_id

    def numbered(self, label: str) -> str:
        """The id of a call of that label; one that is made again is another call than the one that failed."""
        self.ordinals[label] += 1
        count = self.ordinals[label]
        return self.own(label if count == 1 else f"{label}-{count}")

    async def call(
        self,
        name: str,
        call_id: str,
        payloads: Sequence[Payload],
        options: StepOptions,
        *,
        undo: Undo | None = None,
        step: str | None = None,
    ) -> Payload:
        """Schedule an activity and wait for its result, neither of them decoded.

        Args:
            name: The activity's type.
            call_id: Names this call within the run.
            payloads: Its arguments.
            options: In force for it.
            undo: What undoes it.
            step: What messages call it. Default: `call_id`.

        Raises:
            StepFailed: The attempts are used up, or it failed for good.
        """
        if self.reuse is not None:
            call_id, given = self.reuse.step(name, call_id, payloads, undo)
            if undo is not None:
                undo.activity_id = f"{COMPENSATION_PREFIX}{call_id}"
            if given is not None:
                return self._given(given, undo)
        before = cancels()
        try:
            payload = await self._schedule(name, call_id, payloads, options, undo)
        except FailureError as exc:
            failed = step_failed(exc, step or call_id)
            if undo and not outcome_unknown(failed):
                self.compensations.drop(undo)
            if cancels() > before:
                raise asyncio.CancelledError(str(failed)) from failed
            raise failed from failed.__cause__
        finally:
            if undo:
                self.compensations.ended(undo)
        if undo:
            self.compensations.completed(undo, payload)
        if cancels() > before:
            # Temporal tells once: a step that ends in its own way after its cancel would let the run, or a time
            # limit, go on as if nothing had been asked.
            raise asyncio.CancelledError("the step completed after its cancel")
        return payload

    def _given(self, result: Payload, undo: Undo | None) -> Payload:
        """Take a result that the run was given, as if the call had completed now."""
        if undo is not None and undo.foreign:
            undo = None
        self._admitted(undo)
        if undo is not None:
            self.compensations.ended(undo)
            self.compensations.completed(undo, result)
        return result

    def _undo(self, step: Step[..., Any], activity_id: str, payloads: list[Payload]) -> Undo | None:
        if step.compensation is None:
            return None
        return Undo(
            name=step.compensation.name,
            step=step.name,
            activity_id=f"{COMPENSATION_PREFIX}{activity_id}",
            arguments=payloads,
            queue=step.options.queue,
            caller=asyncio.current_task(),
        )

    def _admitted(self, undo: Undo | None) -> None:
        """The step is scheduled next: from here on it may have an effect."""
        if self.compensations.running:
            raise asyncio.CancelledError("the run is undoing its steps and begins no new ones")
        if why := full(workflow.info().get_current_history_length()):
            raise InvalidWorkflow(f"run {workflow.info().workflow_id!r} can begin no more steps: {why}")
        if undo:
            self.compensations.register(undo)

    @asynccontextmanager
    async def charge(self, size_bytes: int) -> AsyncGenerator[None]:
        """Wait until the run may do something itself that costs as much of a workflow task as so many bytes."""
        async with self._unheld(lambda: self._budget.admit(size_bytes, at_once=True)):
            self._admitted(None)
            yield

    @property
    def is_held(self) -> bool:
        """Whether nothing new may begin, as the run is paused."""
        return self.pausing.reason is not None and not self.compensations.running

    async def held(self) -> None:
        """Wait while the run is paused."""
        if self.is_held:
            await workflow.wait_condition(lambda: not self.is_held)

    @asynccontextmanager
    async def _unheld(self, admit: Callable[[], AbstractAsyncContextManager[None]]) -> AsyncGenerator[None]:
        """Admit a call that waits for its place and is not to begin where the run was paused meanwhile."""
        while True:
            await self.held()
            async with admit():
                if self.is_held:
                    continue
                yield
                return

    async def _schedule(
        self,
        name: str,
        activity_id: str,
        payloads: Sequence[Payload],
        options: StepOptions,
        undo: Undo | None = None,
        *,
        compensating: bool = False,
    ) -> Payload:
        args = [RawValue(payload) for payload in payloads]
        size_bytes = sum(payload.ByteSize() for payload in payloads)
        result: RawValue
        if options.local and undo is not None:
            # After a cancel, a local step may be forgotten that has run: what is to be undone runs as a plain one.
            options = dataclasses.replace(options, local=False)
        if options.local:
            async with self._unheld(lambda: self._local.admit(size_bytes)):
                self._admitted(undo)
                result = await run_local(name, activity_id, args, options)
                self._local.add(result.payload.ByteSize())
            return result.payload
        async with self._place(size_bytes, compensating=compensating):
            if not compensating:
                self._admitted(undo)
            result = await run_plain(name, activity_id, args, options)
        return result.payload

    def _place(self, size_bytes: int, *, compensating: bool) -> AbstractAsyncContextManager[None]:
        if compensating:
            return self._budget.admit(size_bytes, at_once=True)
        return self._unheld(lambda: self._budget.admit(size_bytes))

    async def _close_task(self) -> None:
        self.ordinals[CHECKPOINT] += 1
        await workflow.execute_activity(
            CHECKPOINT,
            activity_id=f"{CHECKPOINT}-{self.ordinals[CHECKPOINT]}",
            start_to_close_timeout=MINUTE,
        )

    async def undo_all(self) -> list[str]:
        """Run the open compensations, and those of what an earlier execution has done that this one did not come to.

        Returns:
            One sentence for each that failed for good, or that nobody here knows.
        """
        unknown: list[str] = []
        if self.reuse is not None and not self.compensations.forgotten:
            left, unknown = left_to_undo(self.reuse, self.undo_of)
            self.compensations.adopt(left)
        return [*await self.compensations.run_all(), *unknown]

    async def _compensate(self, undo: Undo) -> None:
        result = undo.result or workflow.payload_converter().to_payload(None)
        if undo.name == MAP_WORKFLOW:
            from holdfast.engine.maps.flow import map_workflow  # which itself stands on this module

            await self.start_child(
                map_workflow, undo.activity_id, [*undo.arguments, result], compensating=True
            )
            return
        try:
            await self._schedule(
                undo.name,
                undo.activity_id,
                [*undo.arguments, result],
                undo.options(),
                compensating=True,
            )
        except FailureError as exc:
            failed = step_failed(exc, undo.step)
            raise failed from failed.__cause__

    async def call_child(
        self,
        child: Workflow[..., Any],
        values: Sequence[Any],
        *,
        undo: Undo | None = None,
        used: dict[str, float] | None = None,
    ) -> Any:
        """Start a child run and wait for its result.

        Args:
            child: The workflow.
            values: Its arguments.
            undo: What undoes it once it has completed; a child that fails undoes itself.
            used: Where to count what it used up. Default: with the rest of this run.
        """
        converter, info = workflow.payload_converter(), workflow.info()
        self.ordinals[f"child {child.name}"] += 1
        child_id = child.child_id or child_run_id(
            info.workflow_id, f"{child.name}:{self.ordinals[f'child {child.name}']}"
        )
        payloads = [
            self.encode(value, adapter, f"Argument {name!r} of workflow {child.name!r}")
            for name, value, adapter in zip(
                child.signature.names, values, child.signature.adapters, strict=True
            )
        ]
        result = await self.start_child(child, child_id, payloads, undo=undo)
        payload = take_usage(result.payload, self.usage if used is None else used)
        return decode_in_workflow(
            payload, child.signature.result, converter, where=f"The result of workflow {child.name!r}"
        )

    async def start_child(
        self,
        child: Workflow[..., Any],
        child_id: str,
        payloads: Sequence[Payload],
        *,
        undo: Undo | None = None,
        compensating: bool = False,
    ) -> RawValue:
        """Start a child run by its raw arguments and wait for its raw result.

        Args:
            child: The workflow.
            child_id: The child's run id.
            payloads: Its arguments.
            undo: What undoes it once it has completed; a child that fails undoes itself.
            compensating: Whether it undoes something itself, and so waits for nothing.

        Raises:
            RunFailed, AlreadyStarted: As `run_child`.
        """
        restart, memo = self.restart, dict[str, Any]()
        if self.reuse is not None and not compensating:
            restart, inner, given = self.reuse.child(child.name, child_id, payloads, undo)
            if given is not None:
                return RawValue(self._given(given, undo))
            memo = inner or {}
        size_bytes = sum(payload.ByteSize() for payload in payloads) + (len(to_json(memo)) if memo else 0)
        async with self._place(size_bytes, compensating=compensating):
            if not compensating:
                self._admitted(undo)
            try:
                result = await run_child(
                    child,
                    child_id,
                    payloads,
                    memo={**memo, **spec_memo(child, stored=self._stored, restart=restart)},
                    searchable=searchable(),
                    pausing=None if compensating else self.pausing,
                )
            except BaseException as exc:
                if undo and not isinstance(exc, RunTerminated):
                    self.compensations.drop(undo)
                raise
            finally:
                if undo:
                    self.compensations.ended(undo)
        if undo:
            self.compensations.completed(undo, result.payload)
        return result

    def encode(self, value: Any, adapter: TypeAdapter[Any] | None, where: str) -> Payload:
        """The payload of a value that leaves workflow code.

        Raises:
            InvalidInput: It cannot be written as JSON, or does not fit the type.
            PayloadTooLarge: It is larger than may travel.
        """
        payload = encode_argument(value, workflow.payload_converter(), adapter, where=where)
        size_bytes = payload.ByteSize()
        if size_bytes > (LIMIT_BYTES if self._stored else INLINE_BYTES):
            # Temporal would leave the run open for ever.
            raise PayloadTooLarge(
                f"{where} has {megabytes(size_bytes)}; at most {megabytes(LIMIT_BYTES)} may travel, and "
                f"{megabytes(INLINE_BYTES)} without a storage (HOLDFAST_STORAGE). Pass where to find it instead.",
                size_bytes=size_bytes,
            )
        return payload
