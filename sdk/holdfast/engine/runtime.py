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
from holdfast.engine.data.in_workflow import decode_in_workflow, encode_argument
from holdfast.engine.data.refs import genuine_refs
from holdfast.engine.data.step_data import INLINE_BYTES
from holdfast.engine.data.values import is_object, megabytes
from holdfast.engine.failures import run_failure
from holdfast.engine.given import GIVEN_MEMO, REUSED_MEMO, Given
from holdfast.engine.inbox import WAITS_MEMO, Inbox
from holdfast.engine.payloads import note_usage
from holdfast.engine.reuse import Reuse
from holdfast.engine.start_memo import EMITTED_MEMO, SPEC_MEMO
from holdfast.engine.waiting import Waiting
from holdfast.errors import InvalidInput, InvalidWorkflow, PayloadTooLarge, RunTimedOut

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from holdfast.spec.model import DagSpec, OnError

CARRY_MEMO = "holdfast.carry"
EMITTED_BYTES = 16 * 1024
STATE_BYTES = 64 * 1024
"""The largest state that goes along when a run continues as new."""
MEMO_BYTES = INLINE_BYTES - 128 * 1024
"""What a run may be given in its memo where nothing goes to a storage: the server ends one whose memo is over 2 MiB,
and what the run itself writes down comes on top."""
_TAKEN = ("workflow.", "step.", "approval.", "goal.")
_OF_ONE_EXECUTION = frozenset({WAITS_MEMO, COMPENSATING_MEMO, REUSED_MEMO, EMITTED_MEMO})


class Run:
    """One run, as its generated class drives it. Everything in it is deterministic."""

    def __init__(self, definition: Workflow[..., Any]) -> None:
        self.definition = definition
        self.inbox = Inbox()
        self.state: Any = None
        self._carried_state: Payload | None = None
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
        self.state, self._carried_state = value, None

    def state_as(self, adapter: TypeAdapter[Any] | None = None, *, keep: bool = False) -> Any:
        """The state, which is plain JSON where an earlier execution set it.

        Args:
            adapter: How to read that instead, if it fits.
            keep: Whether what was read is the state from here on, as who changes it expects.
        """
        if self._carried_state is None or adapter is None:
            return self.state
        try:
            value = decode_in_workflow(
                self._carried_state, adapter, workflow.payload_converter(), where="The state"
            )
        except InvalidInput:
            return self.state
        if keep:
            self.set_state(value)
        return value

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
        self.continue_with(payloads, state=self._state_to_carry())

    def _state_to_carry(self) -> dict[str, Any] | None:
        if self.state is None:
            return None
        try:
            payload = encode_argument(self.state, workflow.payload_converter(), where="The state")
        except InvalidInput as exc:
            workflow.logger.warning("the state is lost when the run continues as new: %s", exc)
            return None
        if (size_bytes := payload.ByteSize()) > STATE_BYTES:
            workflow.logger.warning(
                "the state is lost when the run continues as new: it has %s bytes, at most %s go along; set it again",
                size_bytes,
                STATE_BYTES,
            )
            return None
        # The refs in sight, so that what they refer to is not taken for garbage.
        return {"payload": payload.SerializeToString().hex(), "refs": sorted(genuine_refs(payload))}

    def continue_with(
        self, payloads: Sequence[Payload], *, state: Mapping[str, Any] | None = None
    ) -> NoReturn:
        """The same with raw arguments, and with a state as `_restore` reads it."""
        carry = {
            "inbox": self.inbox.carry(),
            "compensations": self.calls.compensations.carry(),
            "ordinals": dict(self.calls.ordinals),
            "usage": self.calls.usage,
            "deadline": self._deadline.isoformat() if self._deadline else None,
            **self.calls.pausing.carry(),
            **({"state": state} if state is not None else {}),
        }
        onward: dict[str, Any] = {CARRY_MEMO: carry}
        if self._reuse is not None:
            self._reuse.note()
            onward[GIVEN_MEMO] = self._reuse.given.to_json()
        where = "What the run carries over (messages, compensations and given results)"
        size_bytes = self.calls.encode(onward, None, where).ByteSize()
        if size_bytes > MEMO_BYTES and not self._spec.get("stored", True):
            raise PayloadTooLarge(
                f"{where} has {megabytes(size_bytes)}; at most {megabytes(MEMO_BYTES)} without HOLDFAST_STORAGE",
                size_bytes=size_bytes,
            )
        self._continuing = True
        memo = {key: value for key, value in workflow.memo().items() if key not in _OF_ONE_EXECUTION}
        workflow.continue_as_new(args=[RawValue(payload) for payload in payloads], memo={**memo, **onward})

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
        self.calls.pausing.restore(carried)
        if (state := carried.get("state")) is not None:
            self._carried_state = Payload.FromString(bytes.fromhex(state["payload"]))
            self.state = workflow.payload_converter().from_payload(self._carried_state)


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
