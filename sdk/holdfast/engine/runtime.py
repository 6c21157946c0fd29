"""A run from the inside: what the generated workflow class does for the user's function."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from holdfast.authoring.step import Step
from holdfast.authoring.workflow import Workflow
from holdfast.engine.calls import Calls
from holdfast.engine.compensation import COMPENSATING_MEMO
from holdfast.engine.data.in_workflow import decode_in_workflow
from holdfast.engine.data.values import is_object
from holdfast.engine.failures import run_failure
from holdfast.engine.given import GIVEN_MEMO, REUSED_MEMO, Given
from holdfast.engine.inbox import WAITS_MEMO, Inbox
from holdfast.engine.payloads import note_usage
from holdfast.engine.reuse import Reuse
from holdfast.engine.start_memo import EMITTED_MEMO, SPEC_MEMO
from holdfast.engine.waiting import Waiting
from holdfast.errors import InvalidInput, InvalidWorkflow, PayloadTooLarge, RunTimedOut

if TYPE_CHECKING:
    from holdfast.spec.model import DagSpec, OnError

CARRY_MEMO = "holdfast.carry"
EMITTED_BYTES = 16 * 1024
_TAKEN = ("workflow.", "step.", "approval.", "goal.")
_OF_ONE_EXECUTION = frozenset({WAITS_MEMO, COMPENSATING_MEMO, REUSED_MEMO, EMITTED_MEMO})


class Run:
    """One run, as its generated class drives it. Everything in it is deterministic."""

    def __init__(self, definition: Workflow[..., Any]) -> None:
        self.definition = definition
        self.inbox = Inbox()
        self.state: Any = None
        self._deadline: datetime | None = None
        self._continuing = False
        self._spec = _memo(SPEC_MEMO)
        restart = self._spec.get("restart")
        given = {} if _continues_natively() else _memo(GIVEN_MEMO)
        self._reuse = Reuse(Given.of_json(given), restart=restart) if given else None
        self.calls = Calls(stored=self._spec.get("stored", True), restart=restart, reuse=self._reuse)
        self.waiting = Waiting(self.inbox, self.calls)
        # Before any signal of this execution: a resume must find the pause that it ends.
        self._restore()

    # The run itself

    async def execute(self, args: Sequence[Any]) -> RawValue:
        """Decode the input, run the user's function, encode its result; on failure or cancel, compensate first."""
        try:
            values = self._decode_input(args)
            result = await self._in_time(values)
            where = f"The result of workflow {self.definition.name!r}"
            payload = self.calls.encode(result, self.definition.signature.result, where)
            note_usage(payload, self.calls.usage)
            self._note_reuse()
            return RawValue(payload)
        except (Exception, SystemExit, asyncio.CancelledError) as exc:
            self._note_reuse()
            failed = await self.calls.undo_all()
            if isinstance(exc, asyncio.CancelledError) and not failed:
                raise
            failure = run_failure(exc, failed)
            raise failure from failure.__cause__
        except workflow.ContinueAsNewError as exc:
            if self.calls.compensations and not self._continuing:
                raise run_failure(
                    InvalidWorkflow(
                        "with open compensations use holdfast.continue_as_new, which carries them"
                    ),
                    await self.calls.compensations.run_all(),
                ) from exc
            raise

    def _note_reuse(self) -> None:
        if self._reuse is not None:
            self._reuse.note()

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
        limit = asyncio.timeout((self._deadline - workflow.now()).total_seconds())
        try:
            async with limit:
                return await self.definition.signature.call(values, {})
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise RunTimedOut(f"the run took longer than its timeout of {timeout}") from exc

    def _timeout(self) -> timedelta | None:
        # Written down at the start, so that another option in the code changes nothing under an open run. Only a run
        # that another kind of client started has nothing but the code.
        if "timeout" not in self._spec:
            return self.definition.options.timeout
        seconds = self._spec["timeout"]
        return None if seconds is None else timedelta(seconds=seconds)

    # What workflow code asks for

    async def call_step(self, step: Step[..., Any], values: Sequence[Any]) -> Any:
        """Schedule a step and wait for its result."""
        return await self.calls.call_step(step, values)

    async def call_child(self, child: Workflow[..., Any], values: Sequence[Any]) -> Any:
        """Start a child run and wait for its result."""
        return await self.calls.call_child(child, values)

    async def call_dag(self, document: DagSpec, input: Any) -> Any:
        """Run a DAG as a child and wait for its result."""
        from holdfast.engine.dag.flow import dag_call  # which itself stands on this module

        return await self.calls.call_child(*dag_call(document, input))

    async def map_steps(
        self, step: Step[..., Any], items: Sequence[Any], concurrency: int, on_error: OnError
    ) -> list[Any]:
        """Call a step once per item."""
        from holdfast.engine.maps.steps import map_steps  # brings pydantic's slow half along

        results: list[Any] = await map_steps(self.calls, step, items, concurrency, on_error)
        return results

    async def wait_for(self, name: str, hint: Any, timeout: timedelta | None) -> Any:
        """Wait for a message of that name and type."""
        return await self.waiting.wait_for(name, hint, timeout)

    async def approval(self, prompt: str, form: Any, timeout: timedelta | None, name: str | None) -> Any:
        """Wait for a decision."""
        return await self.waiting.approval(prompt, form, timeout, name)

    def set_state(self, value: Any) -> None:
        """What `run.state()` reads, and what queries and updates receive."""
        self.state = value

    async def emit(self, event: str, payload: Any) -> None:
        """Tell those who listen that something has happened."""
        check_emitted(event)
        told = {"event": event, "payload": payload}
        size_bytes = self.calls.encode(told, None, f"The payload of {event!r}").ByteSize()
        if size_bytes > EMITTED_BYTES:
            raise PayloadTooLarge(
                f"the payload of {event!r} takes {size_bytes:,} bytes, and {EMITTED_BYTES:,} are allowed: "
                "emit where it is"
            )
        async with self.calls.charge(size_bytes):
            workflow.upsert_memo({EMITTED_MEMO: told})

    # Continue as new

    def continue_as_new(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> NoReturn:
        """End this execution and start the next; messages, compensations and the deadline go along."""
        signature = self.definition.signature
        values = signature.bind(args, kwargs)
        payloads = [
            self.calls.encode(value, adapter, f"Argument {name!r} of {self.definition.name!r}")
            for name, value, adapter in zip(signature.names, values, signature.adapters, strict=True)
        ]
        self.continue_with(payloads)

    def continue_with(self, payloads: Sequence[Payload]) -> NoReturn:
        """The same with raw arguments."""
        carry = {
            "inbox": self.inbox.carry(),
            "compensations": self.calls.compensations.carry(),
            "ordinals": dict(self.calls.ordinals),
            "usage": self.calls.usage,
            "deadline": self._deadline.isoformat() if self._deadline else None,
            "paused": self.calls.paused,
        }
        self.calls.encode(carry, None, "What the run carries over (messages and compensations)")
        self._continuing = True
        memo = {key: value for key, value in workflow.memo().items() if key not in _OF_ONE_EXECUTION}
        if self._reuse is not None:
            self._reuse.note()
            memo[GIVEN_MEMO] = self._reuse.given.to_json()
        workflow.continue_as_new(
            args=[RawValue(payload) for payload in payloads], memo={**memo, CARRY_MEMO: carry}
        )

    def _restore(self) -> None:
        carried = _memo(CARRY_MEMO)
        if not carried or _continues_natively():
            return
        self.inbox.restore(carried["inbox"])
        self.calls.compensations.restore(carried.get("compensations", []))
        self.calls.ordinals.update(carried.get("ordinals", {}))
        self.calls.usage.update(carried.get("usage", {}))
        deadline = carried.get("deadline")
        self._deadline = datetime.fromisoformat(deadline) if deadline else None
        self.calls.paused = carried.get("paused")


def _memo(key: str) -> dict[str, Any]:
    """What a memo of ours says; nothing where another kind of client wrote something else."""
    found: object = workflow.memo_value(key, default=None)
    return found if is_object(found) else {}


def _continues_natively() -> bool:
    """Whether Temporal's own continue_as_new began this execution. It leaves the memo as it was and counts calls from 1
    again: what was given or carried before is not for this one."""
    return bool(workflow.info().continued_run_id) and "ordinals" not in _memo(CARRY_MEMO)


def message_memo(name: str, payload: Payload) -> dict[str, Any]:
    """A message that goes with the start: the run finds it as if it had been carried over."""
    return {CARRY_MEMO: {"inbox": {"messages": {name: [payload.SerializeToString().hex()]}}}}


def refused(message: str, kind: str) -> ApplicationError:
    """An answer to a query or update that names what is wrong."""
    return ApplicationError(message, type=kind, non_retryable=True)


def check_emitted(event: str) -> None:
    """Refuse the kind of an event that is none, or that Holdfast tells itself.

    Raises:
        InvalidInput: It is.
    """
    if not 0 < len(event) <= 100 or not event.isprintable() or "*" in event:
        raise InvalidInput(f"event {event!r}: use 1 to 100 printable characters without `*`")
    if event.startswith(_TAKEN) or event == "published":
        raise InvalidInput(f"event {event!r} would look like one of Holdfast's own: choose another beginning")
