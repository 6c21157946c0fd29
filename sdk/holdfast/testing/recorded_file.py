"""Writes a recorded run as a test: a Python file that holds what its steps answered."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pprint import pformat
from typing import TYPE_CHECKING, Any, Final, cast

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.common import RawValue
from temporalio.service import RPCError

from holdfast.authoring.run_id import check_id
from holdfast.client.diagram import read_executions, start_of
from holdfast.client.start import unavailable
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.data.adapters import plain_adapter
from holdfast.engine.history import Opened, build_description, describe_execution
from holdfast.engine.history.facts import INTERNAL_PREFIXES, StepFacts, Timeline
from holdfast.engine.history.timeline import read_events
from holdfast.errors import InvalidInput, NotFound
from holdfast.states import RunState, StepState

if TYPE_CHECKING:
    from holdfast.authoring.workflow import Workflow
    from holdfast.client.client import Client

MAX_CHARS: Final = 2_000_000
"""A test is no longer than this."""

_MAX_RUNS: Final = 200
_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?")


class _Any:
    """Stands in the file for what differs from run to run."""

    def __repr__(self) -> str:
        return "ANY"


@dataclass(frozen=True, kw_only=True)
class _Read:
    """One run with its executions."""

    executions: Sequence[Sequence[HistoryEvent]]
    lines: Sequence[Timeline]


async def recorded_test(client: Client, run_id: str, workflow: Workflow[..., Any], module: str) -> str:
    """A test that runs the workflow again with the recorded results of its steps; see `check_recorded`.

    Strings that look like a time or a UUID and came from nowhere (no input, no result, no message) are `ANY`: workflow
    code made them, and makes others each time.

    Args:
        client: Where the run is.
        run_id: A run of the workflow that has completed or failed.
        workflow: The workflow, by whose name the file imports it.
        module: The module that holds it.

    Raises:
        NotFound: There is no such run, or it has children that are gone.
        InvalidInput: It is of another workflow, of a DAG, still open, ended from outside, or too large for a file.
    """
    runs = [read async for read in _with_children(client, run_id)]
    main = runs[0]
    _check(main, run_id, workflow)
    events = [event for execution in main.executions for event in execution]
    start, last = start_of(main.executions[0]), main.lines[-1]
    assert start is not None
    known: set[str] = set()
    given = [_noted(await _value(client, payload), known) for payload in start.input.payloads]
    messages = [(name, _noted(await _value(client, payload), known)) for name, payload in _messages(events)]
    steps = sorted(_steps(runs), key=lambda step: (step.scheduled is None, step.scheduled))
    ended = build_description(main.executions[-1])
    parts = {
        "id": repr(_usable(run_id)),
        "input": _shown(given),
        "messages": _shown(messages),
        "steps": _listed([await _step(client, step, known) for step in steps]),
        "in_order": repr(_one_by_one(steps)),
    }
    if last.end is RunState.COMPLETED:
        found = await _value(client, last.result) if last.result is not None else None
        parts["result"] = _shown(_without_chance(found, known))
    else:
        parts["error"] = repr((ended.error.type, ended.error.message) if ended.error else ("", ""))
    body = "".join(f"    {name}={text},\n" for name, text in parts.items() if text not in ("[]", "False"))
    any_import = "from unittest.mock import ANY\n" if re.search(r"\bANY\b", body) else ""
    # Whatever others gave it as an id: only `repr` of it may get into code.
    name = re.sub(r"\W+", "_", run_id, flags=re.ASCII).strip("_").lower() or "run"
    text = _FILE.format(
        any_import=any_import,
        module=module,
        fn=workflow.fn.__name__,
        body=body,
        name=name,
    )
    if len(text) > MAX_CHARS:
        raise InvalidInput(
            f"run {run_id!r} holds {len(text):,} characters of values; a test has {MAX_CHARS:,} at most"
        )
    return text


_FILE: Final = '''"""A recorded run: the same steps, the same end. The values are as they were."""

import asyncio
{any_import}
from {module} import {fn}

from holdfast import Client
from holdfast.testing import RecordedRun, RecordedStep, check_recorded

RUN = RecordedRun(
{body})


def test_{name}(holdfast_client: Client) -> None:
    asyncio.run(check_recorded(holdfast_client, {fn}, RUN))
'''


def _usable(run_id: str) -> str:
    """The id, or one like it that a run may have: other clients give any."""
    try:
        return check_id(run_id)
    except InvalidInput:
        return re.sub(r"[^A-Za-z0-9._:-]+", "-", run_id)[:100].strip(".-") or "run"


async def _with_children(client: Client, run_id: str) -> AsyncGenerator[_Read]:
    """The run, then its child runs."""
    todo, seen = [run_id], {run_id}
    while todo:
        try:
            described = await describe_execution(client.temporal, todo[0])
            execution = described.workflow_execution_info.execution.run_id
            executions = await read_executions(client.temporal, todo.pop(0), execution)
        except RPCError as exc:
            raise unavailable(exc) from exc
        lines = [read_events(events) for events in executions]
        yield _Read(executions=executions, lines=lines)
        new = [child for line in lines for child in line.children.values() if child not in seen]
        todo += new
        seen.update(new)
        if len(seen) > _MAX_RUNS:
            raise InvalidInput(f"run {run_id!r} has more than {_MAX_RUNS} child runs: too many for a test")


def _check(read: _Read, run_id: str, workflow: Workflow[..., Any]) -> None:
    start, last = start_of(read.executions[0]), read.lines[-1]
    if start is None or start.continued_execution_run_id:
        raise NotFound(f"the beginning of run {run_id!r} is gone")
    kind = start.workflow_type.name
    if kind == DAG_WORKFLOW:
        raise InvalidInput(
            f"run {run_id!r} is one of a DAG: record its history, and check it with replay_check"
        )
    if kind != workflow.name:
        raise InvalidInput(f"run {run_id!r} is one of workflow {kind!r}, not of {workflow.name!r}")
    if last.end not in (RunState.COMPLETED, RunState.FAILED) or last.cancel_requested:
        state = "open" if last.end is None else f"{last.end.value} from outside"
        raise InvalidInput(
            f"run {run_id!r} is {state}; a test can be made of one that completed or failed by itself"
        )


def _steps(runs: Sequence[_Read]) -> Iterator[StepFacts]:
    for read in runs:
        for line in read.lines:
            yield from (step for step in line.steps if not step.internal and step.outcome is not None)


def _one_by_one(steps: Sequence[StepFacts]) -> bool:
    """Whether each step began after the one before it had ended."""
    return all(
        before.closed is not None and after.scheduled is not None and before.closed <= after.scheduled
        for before, after in pairwise(steps)
    )


def _messages(events: Sequence[HistoryEvent]) -> Iterator[tuple[str, Payload]]:
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            signal = event.workflow_execution_signaled_event_attributes
            name, payloads = signal.signal_name, signal.input.payloads
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            asked = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
            name, payloads = asked.name, asked.args.payloads
        else:
            continue
        if payloads and not name.startswith(INTERNAL_PREFIXES):
            yield name, payloads[0]


async def _value(client: Client, payload: Payload) -> Any:
    """A payload as a JSON value, wherever it lies."""
    raw = cast("list[RawValue]", await client.temporal.data_converter.decode([payload], [RawValue]))[0]
    return await client.data.decode(raw.payload, plain_adapter())


async def _step(client: Client, step: StepFacts, known: set[str]) -> str:
    given = None if step.local else [await _value(client, payload) for payload in step.input]
    parts = [repr(step.name), _shown(_without_chance(given, known))]
    if step.outcome is StepState.COMPLETED:
        result = await _value(client, step.result) if step.result is not None else None
        parts += [f"result={_shown(_noted(result, known))}"] if result is not None else []
    elif step.failure is not None:
        error = Opened().error(step.failure)
        parts.append(f"error={(error.type, error.message)!r}")
    return f"RecordedStep({', '.join(parts)})"


def _noted(value: Any, known: set[str]) -> Any:
    """The value; what it holds is known from here on."""
    known.update(_strings(value))
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, held in cast("dict[str, Any]", value).items():
            yield name
            yield from _strings(held)
    elif isinstance(value, list):
        for item in cast("Sequence[Any]", value):
            yield from _strings(item)


def _without_chance(value: Any, known: set[str]) -> Any:
    if isinstance(value, str):
        made = (_UUID.fullmatch(value) or _TIME.fullmatch(value)) and value not in known
        return _Any() if made else value
    if isinstance(value, dict):
        return {name: _without_chance(held, known) for name, held in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_without_chance(item, known) for item in cast("Sequence[Any]", value)]
    return value


def _shown(value: Any) -> str:
    return pformat(value, width=100, sort_dicts=False).replace("\n", "\n    ")


def _listed(lines: Sequence[str]) -> str:
    return "[\n" + "".join(f"        {line},\n" for line in lines) + "    ]" if lines else "[]"
