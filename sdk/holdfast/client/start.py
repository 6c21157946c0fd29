"""What is checked before a run is started, and how it is started."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, cast

from temporalio.client import Client as TemporalClient
from temporalio.common import (
    Priority,
    RawValue,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from holdfast.authoring.workflow import Workflow
from holdfast.checks import check_name, check_text
from holdfast.engine.data.step_data import StepData
from holdfast.engine.data.values import megabytes
from holdfast.engine.inbox import DAG, DAG_MEMO, PAUSED
from holdfast.engine.runtime import message_memo
from holdfast.errors import InvalidInput, PayloadTooLarge, Unavailable

IfExists = Literal["raise", "return", "restart"]

_MESSAGE_BYTES = 256 * 1024

_POLICIES = {
    "raise": (WorkflowIDReusePolicy.REJECT_DUPLICATE, WorkflowIDConflictPolicy.FAIL),
    "return": (WorkflowIDReusePolicy.REJECT_DUPLICATE, WorkflowIDConflictPolicy.USE_EXISTING),
    "restart": (WorkflowIDReusePolicy.ALLOW_DUPLICATE, WorkflowIDConflictPolicy.TERMINATE_EXISTING),
}


def check_start(
    *,
    queue: str | None,
    delay: timedelta | None,
    priority: int | None,
    memo: Mapping[str, Any] | None = None,
) -> None:
    """Refuse options that a start cannot have.

    Raises:
        InvalidInput: One of them cannot work.
    """
    if queue is not None:
        check_name("queue", queue)
    if delay is not None and (not isinstance(cast("object", delay), timedelta) or delay < timedelta(0)):
        raise InvalidInput(f"delay={delay!r}: give a timedelta that is not negative")
    if priority is not None and not 1 <= priority <= 5:
        raise InvalidInput(f"priority={priority!r}: use 1 (first) to 5 (last)")
    for key in memo or {}:
        if key.startswith("holdfast."):
            # What stands there decides what the run does, its compensations for example.
            raise InvalidInput(f"memo key {key!r}: names that begin with 'holdfast.' are Holdfast's own")


def new_id(workflow: str) -> str:
    """A run id for a start that names none."""
    slug = re.sub(r"[^A-Za-z0-9._:-]", "-", workflow)[:150]
    return f"{slug}-{uuid.uuid4().hex[:12]}"


async def encode_input(data: StepData, workflow: Workflow[..., Any], values: Sequence[Any]) -> list[RawValue]:
    """The payloads of a run's arguments, each of which is known to be readable by the run.

    Raises:
        InvalidInput: An argument does not fit its type.
        PayloadTooLarge: An argument is over 50 MiB, or over 2 MiB where there is no storage.
    """
    signature = workflow.signature
    return [
        RawValue(
            await data.encode_input(value, adapter, where=f"Argument {name!r} of workflow {workflow.name!r}")
        )
        for name, value, adapter in zip(signature.names, values, signature.adapters, strict=True)
    ]


async def start(
    client: TemporalClient,
    workflow: Workflow[..., Any],
    args: Sequence[RawValue],
    *,
    run_id: str,
    queue: str,
    if_exists: IfExists,
    delay: timedelta | None,
    memo: Mapping[str, Any] | None,
    search_attributes: TypedSearchAttributes | None,
    priority: int | None,
    summary: str | None,
    eager: bool,
    searchable: bool,
    dag: str | None,
    message: tuple[str, Any] | None = None,
) -> str:
    """Start a run; `dag` is the name of the DAG that it runs.

    Returns:
        The execution id of the run that has the id.

    Raises:
        WorkflowAlreadyStartedError: The id is known, with `if_exists="raise"`, or closed with `"return"`.
        PayloadTooLarge: The message is over 256 KiB.
        Unavailable: The server does not answer.
    """
    reuse, conflict = _POLICIES[if_exists]
    signal: tuple[str, Any] | None = None
    if message is not None and if_exists == "return":
        signal = message  # for the open run too, if there is one
    elif message is not None:
        memo = {**(memo or {}), **_message_memo(client, *message)}
    attributes: list[SearchAttributePair[Any]] = (
        list(search_attributes.search_attributes) if search_attributes else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    )
    if searchable:
        attributes.append(SearchAttributePair(PAUSED, False))
    if dag is not None:
        memo = {**(memo or {}), DAG_MEMO: dag}
        attributes += [SearchAttributePair(DAG, dag)] if searchable else []
    try:
        handle = await client.start_workflow(
            workflow.name,
            args=list(args),
            id=run_id,
            task_queue=queue,
            task_timeout=workflow.task_timeout,
            id_reuse_policy=reuse,
            id_conflict_policy=conflict,
            start_delay=delay,
            memo=memo,
            search_attributes=TypedSearchAttributes(attributes) if attributes else None,
            static_summary=summary,
            priority=Priority(priority_key=priority) if priority is not None else Priority.default,
            request_eager_start=eager and delay is None and signal is None,
            start_signal=signal[0] if signal else None,
            start_signal_args=[signal[1]] if signal else [],
        )
    except RPCError as exc:
        raise unavailable(exc) from exc
    return handle.first_execution_run_id or ""


def check_message_name(name: str) -> str:
    """A name that a message may have.

    Raises:
        InvalidInput: It is empty or belongs to Holdfast or Temporal.
    """
    if not check_text("name", name) or name.startswith(("holdfast.", "__temporal")):
        raise InvalidInput(f"name={name!r}: a message needs a name of its own")
    return name


def check_called(kind: str, name: object) -> None:
    """Refuse a function where its name is meant.

    Args:
        kind: `an update` or `a query`.
        name: What was given.

    Raises:
        InvalidInput: It is no text, or an odd one.
    """
    if not isinstance(name, str):
        named = getattr(name, "__name__", str(name))
        call = f"run.{kind.split()[-1]}({named!r}, ...)"
        raise InvalidInput(f"{name!r}: {kind} is called by its name: {call}")
    check_name("name", name)


def _message_memo(client: TemporalClient, name: str, value: Any) -> dict[str, Any]:
    payload = client.data_converter.payload_converter.to_payload(value)
    if payload.ByteSize() > _MESSAGE_BYTES:
        raise PayloadTooLarge(
            f"Message {name!r} has {megabytes(payload.ByteSize())}; 256 KiB may go with a start. Send it with "
            "`run.send` afterwards.",
            size_bytes=payload.ByteSize(),
        )
    return message_memo(name, payload)


def unavailable(error: RPCError) -> Exception:
    """The error for a call that the server did not take."""
    if error.status in (
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    ):
        return Unavailable(f"the Temporal server does not answer: {error.message}")
    if error.status in (RPCStatusCode.UNKNOWN, RPCStatusCode.INTERNAL) and "transport error" in error.message:
        # The connection broke in the middle of the answer.
        return Unavailable(f"the Temporal server does not answer: {error.message}")
    if error.status == RPCStatusCode.FAILED_PRECONDITION and "no poller" in error.message:
        return Unavailable(f"no worker is there to answer: {error.message}")
    if error.status == RPCStatusCode.INVALID_ARGUMENT:
        return InvalidInput(f"Temporal refuses the call: {error.message}")
    return error


__all__ = [
    "IfExists",
    "WorkflowAlreadyStartedError",
    "check_message_name",
    "check_start",
    "encode_input",
    "new_id",
    "start",
    "unavailable",
]
