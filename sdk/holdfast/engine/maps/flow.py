"""The workflow of a child run that does a part of a map, or undoes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from temporalio import workflow as temporal
from temporalio.api.common.v1 import Payload

from holdfast.authoring.workflow import Workflow
from holdfast.engine.children import MAP_WORKFLOW, child_run_id
from holdfast.engine.data.in_workflow import encode_argument
from holdfast.engine.data.values import is_object
from holdfast.engine.maps.mapper import UNDO, Mapper
from holdfast.engine.maps.plan import MapPlan
from holdfast.engine.payloads import as_payload, plain
from holdfast.engine.runtime import Run
from holdfast.engine.shell import Shell
from holdfast.errors import StepFailed
from holdfast.options import WorkflowOptions


async def run_map(
    mode: str, plan: dict[str, Any], values: dict[str, Any], items: Any, first: int, result: Any = None
) -> Any:
    """Do a part of a map, or undo it.

    Args:
        mode: `run` or `undo`.
        plan: A `MapPlan` as JSON.
        values: What its calls name beside the item.
        items: The items of the part, how many numbers from `first` on, or a Ref to a list.
        first: The position of the first one in the whole map.
        result: What the run that is undone returned; None if that is unknown.

    Returns:
        `outputs`, a list or a Ref to one; `failed`, by position; `usage`.
    """
    run = temporal.instance()
    assert isinstance(run, Shell)
    scope = run.run_scope
    raw = {name: _payload(value) for name, value in values.items()}
    mapper = Mapper(
        scope.calls,
        MapPlan.of_json(plan),
        raw,
        progress=lambda done: scope.set_state({"first": first, "done": done}),
    )
    found = await mapper.load(items, first)
    if mode == UNDO:
        await _undo(scope, mapper, raw, found, first, result)
        return None
    outputs = await mapper.keep(await mapper.run(found, first))
    return {
        "outputs": plain(outputs, "The outputs"),
        "failed": {index: failed.to_json() for index, failed in mapper.failed.items()},
        "usage": mapper.usage,
    }


async def _undo(
    scope: Run, mapper: Mapper, values: Mapping[str, Payload], items: Sequence[Any], first: int, result: Any
) -> None:
    """Undo a part: its items one after the other, the last one first; a long one in runs of its own."""
    outputs: Sequence[Any] | None = None
    failed: Mapping[str, Any] = {}
    if is_object(result):
        outputs, failed = await mapper.load(result["outputs"], first), result["failed"]
    if len(items) > mapper.leaf_items:
        await _undo_in_parts(scope, mapper, values, items, first, outputs, failed)
        return
    for index, item in enumerate(items, first):
        how = failed.get(str(index))
        if how is not None and not how["unknown"]:
            continue
        undo = mapper.plan.undoing(item, index, values, f"{mapper.plan.label}[{index}]")
        assert undo is not None
        scope.calls.compensations.register(undo)
        if outputs is not None and how is None:
            scope.calls.compensations.completed(undo, _payload(outputs[index - first]))
    if problems := await scope.calls.compensations.run_all():
        raise StepFailed("; ".join(problems), step=mapper.plan.label, error_type="StepFailed")


async def _undo_in_parts(
    scope: Run,
    mapper: Mapper,
    values: Mapping[str, Payload],
    items: Sequence[Any],
    first: int,
    outputs: Sequence[Any] | None,
    failed: Mapping[str, Any],
) -> None:
    for start in reversed(range(0, len(items), mapper.leaf_items)):
        part = items[start : start + mapper.leaf_items]
        known = None
        if outputs is not None:
            known = {"outputs": outputs[start : start + mapper.leaf_items], "failed": failed}
        arguments = [
            as_payload(UNDO),
            as_payload(mapper.plan.to_json(concurrency=1)),
            _payload({name: plain(value, name) for name, value in values.items()}),
            _payload(len(part) if isinstance(part, range) else part),
            as_payload(first + start),
            _payload(known),
        ]
        child_id = child_run_id(temporal.info().workflow_id, str(first + start))
        await scope.calls.start_child(map_workflow, child_id, arguments)


def _payload(value: Any) -> Payload:
    return encode_argument(value, temporal.payload_converter())


map_workflow: Workflow[..., Any] = Workflow(
    run_map, name=MAP_WORKFLOW, options=WorkflowOptions(sandboxed=False)
)
