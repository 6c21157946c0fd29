"""Calls of steps and executors that a node's executor asks for before its next call: of those that its `tools` name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from pydantic_core import to_jsonable_python
from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.authoring.executors import EXECUTOR
from holdfast.authoring.next_call import ToolCall
from holdfast.authoring.registry import registry
from holdfast.authoring.step import Step
from holdfast.engine.calls import Calls
from holdfast.engine.compensation import Undo
from holdfast.engine.dag.following import Chain
from holdfast.engine.dag.nodes import NODE
from holdfast.engine.dag.step_options import options_json, options_of_json
from holdfast.engine.data.refdoc import RefDocument
from holdfast.engine.data.refs import genuine_refs
from holdfast.engine.data.step_data import LIMIT_BYTES, REF_BYTES
from holdfast.engine.ending import ended
from holdfast.engine.maps.plan import node_call
from holdfast.engine.payloads import NULL, as_payload, object_of, take_usage
from holdfast.errors import InvalidInput, PayloadTooLarge, StepFailed
from holdfast.spec.model import NodeSpec

_OWN: Final = "own"

Place = Callable[[NodeSpec, str], AbstractAsyncContextManager[dict[str, float]]]
"""A place for one call of a node, within the budget; the second one names the kind of call."""


class Suspended(Exception):
    """A node goes on in the next execution."""


def complete(asked: ToolCall, config: Mapping[str, Any]) -> ToolCall:
    """A call as the run makes it: with the options of what is called, and what undoes it.

    Args:
        asked: As the executor asks for it.
        config: Of the node, as it is written.
    """
    if asked.tool is None:
        return asked
    entry: Mapping[str, Any] = config["tools"][asked.tool]
    if entry.get("executor") is not None:
        step, undo = registry().executors.find(entry["executor"]).step, dict[str, Any]()
    else:
        found = registry().step(entry["step"])
        assert found is not None
        step, undo = found, _undo(found, asked.given)
    return asked.model_copy(update={"options": options_json(step.options), "undo": undo})


def _undo(step: Step[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    if step.compensation is None:
        return {}
    *names, result = step.compensation.signature.names
    values: dict[str, Any] = {}
    for name, parameter in zip(names, step.signature.parameters, strict=True):
        if parameter.name in given or parameter.default is not parameter.empty:
            values[name] = given.get(parameter.name, parameter.default)
    return {"step": step.compensation.name, "given": to_jsonable_python(values), "result": result}


class Tools:
    """Makes such calls.

    Args:
        calls: How the run calls steps.
        place: Where they find room.
    """

    def __init__(self, calls: Calls, place: Place) -> None:
        self._calls = calls
        self._place = place

    async def use(self, node: NodeSpec, label: str, scope: Mapping[str, Payload], chain: Chain) -> None:
        """Make the calls that a chain still waits for, side by side.

        Raises:
            Suspended: Some of them are made in the next execution.
        """
        tasks = [
            asyncio.create_task(self._one(node, label, scope, chain, place), name=f"{label}[{place}]")
            for place in range(len(chain.asked))
            if place not in chain.called
        ]
        if not tasks:
            return
        try:
            await workflow.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if all(isinstance(exc, Suspended) for exc in _raised(tasks)):
                await workflow.wait(tasks)  # what has begun comes to its end
        except asyncio.CancelledError:
            await ended(tasks)
            raise
        raised = _raised(tasks)
        await ended(tasks)
        for exc in sorted(raised, key=lambda exc: isinstance(exc, Suspended)):
            raise exc
        for task in tasks:
            task.result()

    async def _one(
        self, node: NodeSpec, label: str, scope: Mapping[str, Payload], chain: Chain, place: int
    ) -> None:
        asked = chain.asked[place]
        if asked.tool is None:
            chain.called[place] = _wrong(asked.error)
            return
        tools: Any = node.config["tools"]
        entry: Mapping[str, Any] = tools[asked.tool]
        try:
            output = await self._call(
                node, f"{label}[{entry.get('name') or _named(entry)}]", scope, entry, asked
            )
            told = object_of({"output": output})
        except (StepFailed, InvalidInput, PayloadTooLarge) as exc:
            chain.called[place] = _wrong(exc.message)
            return
        size_bytes = _size(output)
        if size_bytes > min(REF_BYTES, LIMIT_BYTES // 2 // len(chain.asked)):
            chain.called[place] = _wrong(f"the result has {size_bytes} bytes, too many to show; ask for less")
        else:
            chain.called[place] = told

    async def _call(
        self,
        node: NodeSpec,
        label: str,
        scope: Mapping[str, Payload],
        entry: Mapping[str, Any],
        asked: ToolCall,
    ) -> Payload:
        step = entry.get("step")
        kind = f"{NODE}{step}" if step else f"{EXECUTOR}{entry['executor']}"
        config: dict[str, Any] = {"arguments": {}} if step else {"config": entry.get("config", {})}
        options = options_of_json(asked.options)
        async with self._place(node, kind) as used:
            call_id = self._calls.numbered(label)
            output = await self._calls.call(
                kind,
                call_id,
                [node_call(config, scope, takes=None if step else (), given=asked.given), NULL],
                options,
                undo=_undo_of(asked, str(step), call_id, options.queue),
                step=_named(entry),
            )
            return take_usage(output, used)


def _raised(tasks: Iterable[asyncio.Task[None]]) -> list[BaseException]:
    over = [task for task in tasks if task.done() and not task.cancelled()]
    return [exc for task in over if (exc := task.exception()) is not None]


def _named(entry: Mapping[str, Any]) -> str:
    return str(entry.get("step") or entry["executor"])


def _undo_of(asked: ToolCall, step: str, call_id: str, queue: str | None) -> Undo | None:
    if not asked.undo:
        return None
    given: Any = asked.undo["given"]
    config = {"arguments": {str(asked.undo["result"]): f"{{{{ {_OWN} }}}}"}}
    return Undo(
        name=f"{NODE}{asked.undo['step']}",
        step=step,
        activity_id=f"compensate:{call_id}",
        arguments=[node_call(config, {}, own=_OWN, given=given)],
        queue=queue,
        caller=asyncio.current_task(),
    )


def _wrong(error: str) -> Payload:
    return as_payload({"error": error})


def _size(output: Payload) -> int:
    """How many bytes an output has with all that it refers to."""
    refs = genuine_refs(output)
    return len(output.data) + (RefDocument(output, refs).open_bytes if refs else 0)
