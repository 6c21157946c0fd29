"""`run.retry` and `run.fork`: executions that are given what an earlier one has done."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic_core import from_json
from temporalio.api.common.v1 import Memo, Payload, SearchAttributes
from temporalio.api.enums.v1 import WorkflowExecutionStatus, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from holdfast.authoring.registry import registry
from holdfast.authoring.run_id import check_id
from holdfast.client.served_input import check_served, served_schema
from holdfast.client.start import new_id, unavailable
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.compensation import COMPENSATING_MEMO
from holdfast.engine.dag.config import check_input
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.data.step_data import LIMIT_BYTES
from holdfast.engine.data.values import is_object, megabytes
from holdfast.engine.given import GIVEN_MEMO, ORIGIN_MEMO, REUSED_MEMO, Entry, Kind, is_own, label_of
from holdfast.engine.history.dag_graph import node_of_call
from holdfast.engine.history.earlier import Earlier, new_mark, read_earlier
from holdfast.engine.history.fetch import describe_execution
from holdfast.engine.inbox import WAITS_MEMO
from holdfast.engine.runtime import CARRY_MEMO, MEMO_BYTES
from holdfast.engine.start_memo import SPEC_MEMO
from holdfast.errors import AlreadyStarted, InvalidInput, NotFound, PayloadTooLarge
from holdfast.options import UNSET
from holdfast.spec.document import load_value
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from holdfast.client.client import Client

_OF_ONE_EXECUTION: Final = frozenset(
    {WAITS_MEMO, COMPENSATING_MEMO, CARRY_MEMO, GIVEN_MEMO, ORIGIN_MEMO, REUSED_MEMO}
)
_OWN_ATTRIBUTES: Final = ("Temporal", "BuildIds", "HoldfastWaiting")


@dataclass(frozen=True, kw_only=True)
class RetryPlan:
    """What a retry or a fork would do. Steps are named as `charge`, `charge #2`, `enrich[7]` of a map, and
    `pay-child:1/charge` in a child run."""

    run: str
    kind: Kind
    reused: list[str] = field(default_factory=list[str])
    """Steps and child runs whose results are given; those whose arguments are others then run again all the same."""

    runs_again: list[str] = field(default_factory=list[str])
    """Steps that were begun and did not complete. What was never begun is not listed."""

    compensated: list[str] = field(default_factory=list[str])
    """Steps that were undone, and so run again."""

    not_reached: list[str] = field(default_factory=list[str])
    """Of those that are reused: steps and child runs to which the latest execution, a retry or a fork itself, did not
    come any more."""

    messages: list[str] = field(default_factory=list[str])
    """The names of the messages and decisions that the run gets at once, in their order."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "run": self.run,
            "kind": self.kind,
            "reused": self.reused,
            "runs_again": self.runs_again,
            "compensated": self.compensated,
            "not_reached": self.not_reached,
            "messages": self.messages,
        }


async def preview_retry(client: Client, run_id: str) -> RetryPlan:
    """What `retry` would do."""
    return _plan(await _to_retry(client, run_id), "retry")


async def preview_fork(client: Client, run_id: str, from_step: str | None) -> RetryPlan:
    """What `fork` would do."""
    return _plan(await _to_fork(client, run_id, from_step), "fork")


async def retry(client: Client, run_id: str, *, by: str, reason: str) -> None:
    """Let a run that has ended without a result go on."""
    earlier = await _to_retry(client, run_id)
    mark = new_mark()
    memo = await _start_memo(client, earlier, earlier.memo("retry", mark, by=by, reason=reason))
    request = await _request(client, earlier, run_id, memo)
    # Of all who retry this execution one gets through: to the server the others say the same again.
    request.request_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"holdfast.retry/{earlier.execution_id}"))
    request.workflow_id_reuse_policy = (
        WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
    )
    taken = f"run {run_id!r} goes on already: somebody else has retried it"
    execution_id = await _start(client, request, taken)
    begun = await describe_execution(client.temporal, run_id, execution_id=execution_id)
    if begun.workflow_execution_info.memo.fields.get(ORIGIN_MEMO) != memo.fields[ORIGIN_MEMO]:
        raise AlreadyStarted(taken, run=client.get(run_id))


async def fork(
    client: Client, run_id: str, *, from_step: str | None, input: Any, id: str | None, by: str, reason: str
) -> str:
    """Start another run that is given what a run has done; gives its id."""
    if id is not None:
        check_id(id)
    earlier = await _to_fork(client, run_id, from_step)
    memo = await _start_memo(client, earlier, earlier.memo("fork", new_mark(), by=by, reason=reason))
    started = earlier.start.workflow_execution_started_event_attributes
    new = id or new_id(started.workflow_type.name)
    request = await _request(client, earlier, new, memo)
    if input is not UNSET:
        await _replace_input(client, request, input, await _document(client, earlier))
    request.request_id = str(uuid.uuid4())
    request.workflow_id_reuse_policy = WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
    await _start(client, request, f"run {new!r} exists already; use another id")
    return new


# What is read


async def _to_retry(client: Client, run_id: str) -> Earlier:
    earlier = await _read(client, run_id)
    started = earlier.start.workflow_execution_started_event_attributes
    if parent := started.parent_workflow_execution.workflow_id:
        raise InvalidInput(
            f"run {run_id!r} is a child of {parent!r}: retry that one, with which it goes on; or `fork` this one"
        )
    if earlier.is_open:
        raise AlreadyStarted(
            f"run {run_id!r} is open: only one that has ended can be retried; `fork` starts another run from it",
            run=client.get(run_id),
        )
    description = await describe_execution(client.temporal, run_id, execution_id=earlier.execution_id)
    if (
        description.workflow_execution_info.status
        == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED
    ):
        raise InvalidInput(f"run {run_id!r} has completed: nothing to retry; use `fork` to run it again")
    if uncertain := earlier.uncertain():
        raise InvalidInput(
            f"run {run_id!r} has begun to undo {', '.join(uncertain[:5])}, and how that ended is not known: look "
            "whether it was undone; then `fork` goes on with it as done, and `fork(from_step=...)` does it again"
        )
    if still := earlier.open_children():
        raise AlreadyStarted(
            f"run {run_id!r} has children that have not ended yet: {', '.join(still[:5])}; wait for them, or "
            "terminate them",
            run=client.get(still[0]),
        )
    return earlier


async def _to_fork(client: Client, run_id: str, from_step: str | None) -> Earlier:
    earlier = await _read(client, run_id)
    if from_step is not None:
        _cut(earlier, from_step, await _document(client, earlier))
    return earlier


async def _read(client: Client, run_id: str) -> Earlier:
    earlier = await read_earlier(client.temporal, run_id)
    started = earlier.start.workflow_execution_started_event_attributes
    name = started.workflow_type.name
    if SPEC_MEMO not in started.memo.fields and name not in registry().workflows():
        raise InvalidInput(
            f"run {run_id!r} of workflow {name!r} was not started by Holdfast, and nothing here knows that workflow: "
            "one that is not Holdfast's would do everything again"
        )
    return earlier


async def _document(client: Client, earlier: Earlier) -> DagSpec | None:
    started = earlier.start.workflow_execution_started_event_attributes
    if started.workflow_type.name != DAG_WORKFLOW or not started.input.payloads:
        return None
    [raw] = await client.temporal.data_converter.decode([started.input.payloads[0]], [RawValue])
    return load_value(from_json(raw.payload.data))


def _cut(earlier: Earlier, from_step: str, spec: DagSpec | None) -> None:
    """Forget what was done from a step on: in a DAG, of it and of all that depend on it."""
    done = earlier.done
    if spec is not None and from_step in spec.by_id:
        again = {from_step}
        for node_id in Graph.of(spec).order:
            if again.intersection(spec.dependencies[node_id]):
                again.add(node_id)
        dropped = [at for at, entry in done.entries.items() if (_node(entry.key, spec) or "") in again]
        if not dropped and spec.by_id[from_step].type not in (
            "wait",
            "approval",
            "timer",
            "switch",
            "transform",
        ):
            raise _never_ran(earlier, from_step, spec)
        names = {
            str(spec.by_id[node].config.get("event") or spec.by_id[node].config.get("name", node))
            for node in again
        }
        done.messages = [message for message in done.messages if message.name not in names]
    else:
        keys = list(done.entries)
        key = next((key for key in keys if _is_called(done.entries[key], from_step)), None)
        if key is None:
            raise _never_ran(earlier, from_step, spec)
        dropped = keys[keys.index(key) :]
        last = done.begun_after.get(key, 0)
        done.messages = [message for message in done.messages if message.after <= last]
    for key in dropped:
        del done.entries[key]
        earlier.within.pop(key, None)


def _node(key: str, spec: DagSpec) -> str | None:
    """The node that a call belongs to."""
    last = key.lstrip(":").rpartition("holdfast.")[2]
    for part in (last, *re.split(r"[:\[]", last)):
        node = node_of_call(part)
        if node in spec.by_id:
            return node
    return None


def _is_called(entry: Entry, wanted: str) -> bool:
    name, _, number = wanted.partition("#")
    name, number = name.strip(), number.strip() or "1"
    return entry.key in {f"{name}-{number}", f":{name}:{number}"} or (number == "1" and entry.key == name)


def _never_ran(earlier: Earlier, wanted: str, spec: DagSpec | None) -> NotFound:
    if spec is not None:
        there = list(
            dict.fromkeys(filter(None, (_node(entry.key, spec) for entry in earlier.done.entries.values())))
        )
    else:
        there = list(_labels(earlier, lambda entry: True))
    shown = ", ".join(there[:30]) + (", ..." if len(there) > 30 else "")
    return NotFound(
        f"run {earlier.run_id!r} has never begun step {wanted!r}; it has begun: {shown or 'none'}"
    )


def _plan(earlier: Earlier, kind: Kind) -> RetryPlan:
    return RetryPlan(
        run=earlier.run_id,
        kind=kind,
        reused=list(_labels(earlier, lambda entry: entry.result is not None)),
        runs_again=list(_labels(earlier, lambda entry: entry.result is None and not entry.undone)),
        compensated=list(_labels(earlier, lambda entry: entry.undone)),
        not_reached=[label_of(entry) for entry in earlier.left if not is_own(entry)],
        messages=[message.name for message in earlier.done.messages],
    )


def _labels(earlier: Earlier, wanted: Callable[[Entry], bool], prefix: str = "") -> Iterator[str]:
    for place, entry in earlier.done.entries.items():
        if is_own(entry):
            continue
        label = f"{prefix}{label_of(entry)}"
        within = earlier.within.get(place)
        if within is not None:
            yield from _labels(within, wanted, f"{label}/")
        elif wanted(entry):
            yield label


# What is started


async def _start_memo(client: Client, earlier: Earlier, given: dict[str, Any]) -> Memo:
    started = earlier.start.workflow_execution_started_event_attributes
    fields = {key: payload for key, payload in started.memo.fields.items() if key not in _OF_ONE_EXECUTION}
    converter = client.temporal.data_converter
    if SPEC_MEMO in fields:
        [spec] = await converter.decode([fields[SPEC_MEMO]])
        if is_object(spec) and given[ORIGIN_MEMO]["kind"] == "fork":
            given = {**given, SPEC_MEMO: {key: value for key, value in spec.items() if key != "restart"}}
    plain = converter.payload_converter.to_payloads(list(given.values()))
    sizes = {name: payload.ByteSize() for name, payload in zip(given, plain, strict=True)}
    _refuse_above(LIMIT_BYTES if client.data.stored else MEMO_BYTES, sizes, earlier.run_id, client)
    memo = Memo(
        fields={**fields, **dict(zip(given, await converter.encode(list(given.values())), strict=True))}
    )
    # What is large lies in the storage by now; where there is none, all of the memo counts to the server.
    sizes = {name: payload.ByteSize() for name, payload in memo.fields.items()}
    _refuse_above(MEMO_BYTES, sizes, earlier.run_id, client)
    return memo


def _refuse_above(limit: int, sizes: Mapping[str, int], run_id: str, client: Client) -> None:
    total = sum(sizes.values())
    if total <= limit:
        return
    named = {GIVEN_MEMO: "results of steps", CARRY_MEMO: "messages"}
    parts = [
        f"{named.get(name, name)} {megabytes(size)}" for name, size in sizes.items() if size > limit // 100
    ]
    raise PayloadTooLarge(
        f"what run {run_id!r} has done has {megabytes(total)} together ({', '.join(parts)}); at most "
        f"{megabytes(limit)} may be given to another execution"
        + ("" if client.data.stored else " without HOLDFAST_STORAGE"),
        size_bytes=total,
    )


async def _request(
    client: Client, earlier: Earlier, run_id: str, memo: Memo
) -> StartWorkflowExecutionRequest:
    started = earlier.start.workflow_execution_started_event_attributes
    request = StartWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_id=run_id,
        workflow_type=started.workflow_type,
        task_queue=started.task_queue,
        input=started.input,
        workflow_execution_timeout=started.workflow_execution_timeout,
        workflow_run_timeout=started.workflow_run_timeout,
        workflow_task_timeout=started.workflow_task_timeout,
        identity=client.temporal.identity,
        workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
        memo=memo,
        search_attributes=_attributes(started),
        header=started.header,
        priority=started.priority,
        user_metadata=earlier.start.user_metadata,
    )
    if started.workflow_type.name == DAG_WORKFLOW:
        # The options of its steps are those of today: more time for a step is often why a run is tried again.
        converter = client.temporal.data_converter
        del request.input.payloads[2:]
        request.input.payloads.extend(await converter.encode([None, {}]))
    return request


def _attributes(started: WorkflowExecutionStartedEventAttributes) -> SearchAttributes:
    fields: dict[str, Payload] = {
        key: value
        for key, value in started.search_attributes.indexed_fields.items()
        if not key.startswith(_OWN_ATTRIBUTES)
    }
    return SearchAttributes(indexed_fields=fields)


async def _replace_input(
    client: Client, request: StartWorkflowExecutionRequest, input: Any, spec: DagSpec | None
) -> None:
    name = request.workflow_type.name
    schema: Mapping[str, Any] | None = None
    if spec is not None:
        check_input(spec, input)
        values: list[Any] = [input]
        adapters: Sequence[TypeAdapter[Any]] = [make_adapter(Any)]
        places = [1]
    else:
        known = registry().workflows().get(name)
        schema = None if known else await served_schema(client, name, request.task_queue.name)
        there = len(request.input.payloads) if schema is None else len(schema.get("properties", {}))
        count = len(known.signature.names) if known else there
        if count != 1 and not (isinstance(input, list | tuple) and len(cast("list[Any]", input)) == count):
            raise InvalidInput(f"workflow {name!r} takes {count} arguments: give a list of all")
        values = [input] if count == 1 else list(cast("list[Any]", input))
        adapters = known.signature.adapters if known else [make_adapter(Any)] * count
        places = list(range(count))
        while len(request.input.payloads) < count:
            request.input.payloads.add()
    for place, value, adapter in zip(places, values, adapters, strict=True):
        plain = await client.data.encode_input(value, adapter, where=f"The input of {name!r}")
        [encoded] = await client.temporal.data_converter.encode([RawValue(plain)])
        request.input.payloads[place].CopyFrom(encoded)
    if schema is not None:
        check_served(name, schema, values)


async def _start(client: Client, request: StartWorkflowExecutionRequest, taken: str) -> str:
    try:
        return (await client.temporal.workflow_service.start_workflow_execution(request)).run_id
    except RPCError as exc:
        if exc.status is RPCStatusCode.ALREADY_EXISTS:
            raise AlreadyStarted(taken, run=client.get(request.workflow_id)) from exc
        raise unavailable(exc) from exc
