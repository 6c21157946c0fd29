"""A run from the inside: what the generated workflow class does for the user's function."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import Priority, RawValue
from temporalio.common import RetryPolicy as TemporalRetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

from holdfast.authoring.registry import registry
from holdfast.authoring.step import COMPENSATION_RETRY, Step
from holdfast.authoring.workflow import Workflow
from holdfast.engine.budget import LocalBudget, TaskBudget
from holdfast.engine.children import run_child
from holdfast.engine.compensation import COMPENSATING_MEMO, Compensations, Undo
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.data.in_workflow import decode_in_workflow, encode_argument
from holdfast.engine.data.step_data import INLINE_BYTES, LIMIT_BYTES
from holdfast.engine.data.values import megabytes
from holdfast.engine.failures import outcome_unknown, run_failure, step_failed
from holdfast.engine.inbox import PAUSED, WAITS_MEMO, Inbox, OpenWait, searchable
from holdfast.errors import InvalidInput, InvalidWorkflow, PayloadTooLarge, RunTimedOut, WaitTimeout
from holdfast.options import MINUTE, RetryPolicy, StepOptions

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SPEC_MEMO = "holdfast.spec"
CARRY_MEMO = "holdfast.carry"
CHECKPOINT = "holdfast.checkpoint"
"""The no-op step that closes a workflow task full of local steps."""


class Run:
    """One run, as its generated class drives it. Everything in it is deterministic."""

    def __init__(self, definition: Workflow[..., Any]) -> None:
        self.definition = definition
        self.inbox = Inbox()
        self.state: Any = None
        self.paused: str | None = None
        self._compensations = Compensations(self._compensate)
        self._budget = TaskBudget(self._close_task)
        self._ordinals: Counter[str] = Counter()
        self._deadline: datetime | None = None
        self._continuing = False
        self._adapters: dict[Any, TypeAdapter[Any]] = {}
        spec = workflow.memo_value(SPEC_MEMO, default=None)
        self._spec: dict[str, Any] = spec if isinstance(spec, dict) else {}
        self._stored = self._spec.get("stored", True)
        self._local = LocalBudget(self._close_task, stored=self._stored)

    # The run itself

    async def execute(self, args: Sequence[Any]) -> RawValue:
        """Decode the input, run the user's function, encode its result; on failure or cancel, compensate first."""
        self._restore()
        try:
            values = self._decode_input(args)
            result = await self._in_time(values)
            return RawValue(
                self._encode(
                    result,
                    self.definition.signature.result,
                    f"The result of workflow {self.definition.name!r}",
                )
            )
        except (Exception, SystemExit, asyncio.CancelledError) as exc:
            failed = await self._compensations.run_all()
            if isinstance(exc, asyncio.CancelledError) and not failed:
                raise
            failure = run_failure(exc, failed)
            raise failure from failure.__cause__
        except workflow.ContinueAsNewError as exc:
            if self._compensations and not self._continuing:
                raise run_failure(
                    InvalidWorkflow(
                        "with open compensations use holdfast.continue_as_new, which carries them"
                    ),
                    await self._compensations.run_all(),
                ) from exc
            raise

    def _decode_input(self, args: Sequence[Any]) -> list[Any]:
        signature, values = self.definition.signature, list[Any]()
        if len(args) > len(signature.names):
            raise InvalidInput(
                f"{self.definition.name} got {len(args)} arguments; it takes {len(signature.names)}"
            )
        for index, parameter in enumerate(signature.parameters):
            where = f"Argument {parameter.name!r} of workflow {self.definition.name!r}"
            if index >= len(args):
                if parameter.default is parameter.empty:
                    raise InvalidInput(f"{where} is missing")
                values.append(parameter.default)
                continue
            # A client of another kind may leave out defaults; Temporal then hands over plain JSON values.
            value = args[index]
            payload = (
                value.payload
                if isinstance(value, RawValue)
                else workflow.payload_converter().to_payload(value)
            )
            values.append(
                decode_in_workflow(
                    payload, signature.adapters[index], workflow.payload_converter(), where=where
                )
            )
        return values

    async def _in_time(self, values: Sequence[Any]) -> Any:
        timeout = self._timeout()
        if timeout is None:
            return await self.definition.signature.call(values, {})
        if self._deadline is None:
            self._deadline = workflow.now() + timeout
        try:
            async with asyncio.timeout((self._deadline - workflow.now()).total_seconds()) as limit:
                return await self.definition.signature.call(values, {})
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise RunTimedOut(f"the run took longer than its timeout of {timeout}") from exc

    def _timeout(self) -> timedelta | None:
        # Written down at the start, so that another option in the code changes nothing under an open run.
        seconds = self._spec.get("timeout")
        if seconds is None:
            return self.definition.options.timeout
        return timedelta(seconds=seconds)

    # Steps

    async def call_step(self, step: Step[..., Any], values: Sequence[Any]) -> Any:
        """Schedule a step and wait for its result.

        Raises:
            StepFailed: The attempts are used up, or it failed for good.
            InvalidInput: An argument cannot travel.
        """
        converter = workflow.payload_converter()
        payloads = [
            self._encode(value, None, f"Argument {name!r} of step {step.name!r}")
            for name, value in zip(step.signature.names, values, strict=True)
        ]
        self._ordinals[step.name] += 1
        activity_id = f"{step.name}-{self._ordinals[step.name]}"
        undo = self._undo(step, activity_id, payloads)
        try:
            payload = await self._schedule(step.name, activity_id, payloads, step.options, undo)
        except FailureError as exc:
            failed = step_failed(exc, step.name)
            if undo and not outcome_unknown(failed):
                self._compensations.drop(undo)
            raise failed from failed.__cause__
        finally:
            if undo:
                self._compensations.ended(undo)
        if undo:
            self._compensations.completed(undo, payload)
        return decode_in_workflow(
            payload, step.signature.result, converter, where=f"The result of step {step.name!r}"
        )

    def _undo(self, step: Step[..., Any], activity_id: str, payloads: list[Payload]) -> Undo | None:
        if step.compensation is None:
            return None
        return Undo(
            name=step.compensation.name,
            step=step.name,
            activity_id=f"compensate:{activity_id}",
            arguments=payloads,
            queue=step.options.queue,
            caller=asyncio.current_task(),
        )

    def _admitted(self, undo: Undo | None) -> None:
        """The step is scheduled next: from here on it may have an effect."""
        if self._compensations.running:
            raise asyncio.CancelledError("the run is undoing its steps and begins no new ones")
        if undo:
            self._compensations.register(undo)

    async def _hold(self) -> None:
        if self.paused is not None:
            await workflow.wait_condition(lambda: self.paused is None or self._compensations.running)

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
        if not compensating:
            await self._hold()
        args = [RawValue(payload) for payload in payloads]
        size_bytes = sum(payload.ByteSize() for payload in payloads)
        result: RawValue
        if options.local:
            async with self._local.admit(size_bytes):
                self._admitted(undo)
                result = await workflow.execute_local_activity(
                    name,
                    args=args,
                    result_type=RawValue,
                    activity_id=activity_id,
                    start_to_close_timeout=options.attempt_timeout,
                    local_retry_threshold=MINUTE,
                    retry_policy=_temporal_retry(options.retry),
                    summary=options.summary,
                )
                self._local.add(result.payload.ByteSize())
            return result.payload
        async with self._budget.admit(size_bytes, at_once=compensating):
            if not compensating:
                self._admitted(undo)
            result = await workflow.execute_activity(
                name,
                args=args,
                result_type=RawValue,
                activity_id=activity_id,
                task_queue=options.queue,
                start_to_close_timeout=options.attempt_timeout,
                heartbeat_timeout=options.heartbeat_timeout,
                retry_policy=_temporal_retry(options.retry),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
                if options.heartbeat_timeout
                else workflow.ActivityCancellationType.TRY_CANCEL,
                summary=options.summary,
                priority=Priority(priority_key=options.priority) if options.priority else Priority.default,
            )
        return result.payload

    async def _close_task(self) -> None:
        self._ordinals[CHECKPOINT] += 1
        await workflow.execute_activity(
            CHECKPOINT,
            activity_id=f"{CHECKPOINT}-{self._ordinals[CHECKPOINT]}",
            start_to_close_timeout=MINUTE,
        )

    async def _compensate(self, undo: Undo) -> None:
        result = undo.result or workflow.payload_converter().to_payload(None)
        try:
            await self._schedule(
                undo.name,
                undo.activity_id,
                [*undo.arguments, result],
                dataclasses.replace(
                    _compensation_options(undo), queue=undo.queue, summary=f"undoes {undo.step}"
                ),
                compensating=True,
            )
        except FailureError as exc:
            failed = step_failed(exc, undo.name)
            raise failed from failed.__cause__

    # Children

    async def call_child(self, child: Workflow[..., Any], values: Sequence[Any]) -> Any:
        """Start a child run and wait for its result."""
        converter, info = workflow.payload_converter(), workflow.info()
        self._ordinals[f"child {child.name}"] += 1
        child_id = (
            child.child_id or f"{info.workflow_id}:{child.name}:{self._ordinals[f'child {child.name}']}"
        )
        await self._hold()
        payloads = [
            self._encode(value, adapter, f"Argument {name!r} of workflow {child.name!r}")
            for name, value, adapter in zip(
                child.signature.names, values, child.signature.adapters, strict=True
            )
        ]
        async with self._budget.admit(sum(payload.ByteSize() for payload in payloads)):
            self._admitted(None)
            result = await run_child(
                child, child_id, payloads, memo=spec_memo(child, stored=self._stored), searchable=searchable()
            )
        return decode_in_workflow(
            result.payload, child.signature.result, converter, where=f"The result of workflow {child.name!r}"
        )

    def _encode(self, value: Any, adapter: TypeAdapter[Any] | None, where: str) -> Payload:
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

    # Messages

    async def wait_for(self, name: str, hint: Any, timeout: timedelta | None) -> Any:
        """Wait for a message of that name and type."""
        wait = OpenWait(name=name, kind="wait", adapter=self._adapter(hint), deadline=_deadline(timeout))
        return await self._wait(wait, timeout)

    async def approval(self, prompt: str, form: Any, timeout: timedelta | None, name: str | None) -> Any:
        """Wait for a decision."""
        adapter = self._adapter(form)
        wait = OpenWait(
            name=name or self._approval_name(prompt),
            kind="approval",
            adapter=adapter,
            prompt=prompt,
            form=adapter.json_schema(),
            deadline=_deadline(timeout),
        )
        try:
            return await self._wait(wait, timeout)
        finally:
            self.inbox.decide(wait.name)

    async def _wait(self, wait: OpenWait, timeout: timedelta | None) -> Any:
        self.inbox.open(wait)
        try:
            while True:
                left = max(wait.deadline - workflow.now(), timedelta(0)) if wait.deadline else None
                await workflow.wait_condition(
                    lambda: self.inbox.has(wait.name),
                    timeout=left,
                    timeout_summary=f"{wait.kind} {wait.name}",
                )
                try:
                    return self.inbox.take(wait)
                except LookupError:
                    continue
        except TimeoutError as exc:
            raise WaitTimeout(f"nobody answered {wait.name!r} within {timeout}") from exc
        finally:
            self.inbox.close(wait)

    def _approval_name(self, prompt: str) -> str:
        slug = "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in prompt.lower()).split())[
            :60
        ]
        slug = slug or "approval"
        self._ordinals[f"approval {slug}"] += 1
        count = self._ordinals[f"approval {slug}"]
        return slug if count == 1 else f"{slug}-{count}"

    def _adapter(self, hint: Any) -> TypeAdapter[Any]:
        if hint not in self._adapters:
            self._adapters[hint] = make_adapter(hint)
        return self._adapters[hint]

    # State

    def set_state(self, value: Any) -> None:
        """What `run.state()` reads, and what queries and updates receive."""
        self.state = value

    def pause(self, reason: str) -> None:
        """Hold new steps."""
        self.paused = reason
        if searchable():
            workflow.upsert_search_attributes([PAUSED.value_set(True)])

    def resume(self) -> None:
        """Let steps go on."""
        self.paused = None
        if searchable():
            workflow.upsert_search_attributes([PAUSED.value_set(False)])

    # Continue as new

    def continue_as_new(self, values: Sequence[Any]) -> NoReturn:
        """End this execution and start the next; messages, compensations and the deadline go along."""
        signature = self.definition.signature
        payloads = [
            self._encode(value, adapter, f"Argument {name!r} of {self.definition.name!r}")
            for name, value, adapter in zip(signature.names, values, signature.adapters, strict=True)
        ]
        self._continuing = True
        carry = {
            "inbox": self.inbox.carry(),
            "compensations": self._compensations.carry(),
            "ordinals": dict(self._ordinals),
            "deadline": self._deadline.isoformat() if self._deadline else None,
            "paused": self.paused,
        }
        memo = {
            key: value for key, value in workflow.memo().items() if key not in (WAITS_MEMO, COMPENSATING_MEMO)
        }
        workflow.continue_as_new(
            args=[RawValue(payload) for payload in payloads], memo={**memo, CARRY_MEMO: carry}
        )

    def _restore(self) -> None:
        carried = workflow.memo_value(CARRY_MEMO, default=None)
        if not isinstance(carried, dict):
            return
        self.inbox.restore(carried["inbox"])
        self._compensations.restore(carried.get("compensations", []))
        self._ordinals.update(carried.get("ordinals", {}))
        deadline = carried.get("deadline")
        self._deadline = datetime.fromisoformat(deadline) if deadline else None
        self.paused = self.paused or carried.get("paused")


def spec_memo(definition: Workflow[..., Any], *, stored: bool) -> dict[str, Any]:
    """What is written down at a run's start, since it decides on its history. The usual is left out.

    Args:
        definition: The workflow.
        stored: Whether large payloads go to a storage.
    """
    spec: dict[str, Any] = {}
    if definition.options.timeout:
        spec["timeout"] = definition.options.timeout.total_seconds()
    if not stored:
        spec["stored"] = False
    return {SPEC_MEMO: spec} if spec else {}


def message_memo(name: str, payload: Payload) -> dict[str, Any]:
    """A message that goes with the start: the run finds it as if it had been carried over."""
    return {CARRY_MEMO: {"inbox": {"messages": {name: [payload.SerializeToString().hex()]}}}}


def _compensation_options(undo: Undo) -> StepOptions:
    step = registry().step(undo.step)
    return step.compensation.options if step and step.compensation else StepOptions(retry=COMPENSATION_RETRY)


def _temporal_retry(retry: RetryPolicy) -> TemporalRetryPolicy:
    return TemporalRetryPolicy(
        initial_interval=retry.first_delay,
        backoff_coefficient=retry.backoff,
        maximum_interval=retry.max_delay,
        maximum_attempts=retry.max_attempts,
        non_retryable_error_types=retry.non_retryable_names or None,
    )


def _deadline(timeout: timedelta | None) -> datetime | None:
    return workflow.now() + timeout if timeout is not None else None


def refused(message: str, kind: str) -> ApplicationError:
    """An answer to a query or update that names what is wrong."""
    return ApplicationError(message, type=kind, non_retryable=True)
