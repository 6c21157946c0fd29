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
from holdfast.engine.maps.mapper import CHUNKS, UNDO, Mapper
from holdfast.engine.maps.plan import MapPlan
from holdfast.engine.maps.result import PartResult
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
        items: The items of the part, how many numbers from `first` on, a Ref to a list, or the chunks of one.
        first: The position of the first one in the whole map.
        result: What the run returned that is undone, or that did a part of it; None if that is unknown.

    Returns:
        `outputs`, a list or a Ref to one; `failed`, by position; `rest`, the first positions and the counts of items
        that were not begun; `usage`.
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
        inner=True,
    )
    if mode == UNDO:
        await _undo(scope, mapper, raw, items, first, result)
        return None
    if is_object(result):
        mapper.resume(result, await mapper.load(result["outputs"], first))
    outputs = await mapper.keep(await mapper.run_part(items, first))
    return {
        "outputs": plain(outputs, "The outputs"),
        "failed": {index: failed.to_json() for index, failed in mapper.failed.items()},
        "rest": mapper.rest,
        "usage": mapper.usage,
    }


async def _undo(
    scope: Run, mapper: Mapper, values: Mapping[str, Payload], given: Any, first: int, result: Any
) -> None:
    """Undo a part: its items one after the other, the last one first; a long one in runs of its own."""
    before: PartResult | None = None
    if is_object(result):
        before = PartResult(result, await mapper.load(result["outputs"], first))
    if is_object(given):
        chunks = [(count, chunk) for count, chunk in given[CHUNKS]]
        await _undo_in_parts(scope, mapper, values, chunks, first, before)
        return
    items = await mapper.load(given, first)
    if len(items) > mapper.leaf_items:
        size = mapper.leaf_items
        cut = [items[start : start + size] for start in range(0, len(items), size)]
        parts = [(len(part), len(part) if isinstance(part, range) else part) for part in cut]
        await _undo_in_parts(scope, mapper, values, parts, first, before)
        return
    for index, item in enumerate(items):
        at = first + index
        if before is not None and not before.begun(at):
            continue
        undo = mapper.plan.undoing(item, at, values, f"{mapper.plan.label}[{at}]")
        assert undo is not None
        scope.calls.compensations.register(undo)
        if before is not None and before.completed(index, first):
            scope.calls.compensations.completed(undo, _payload(before.outputs[index]))
    if problems := await scope.calls.compensations.run_all():
        raise StepFailed("; ".join(problems), step=mapper.plan.label, error_type="StepFailed")


async def _undo_in_parts(
    scope: Run,
    mapper: Mapper,
    values: Mapping[str, Payload],
    parts: Sequence[tuple[int, Any]],
    first: int,
    before: PartResult | None,
) -> None:
    end = sum(count for count, _ in parts)
    for count, part in reversed(parts):
        start, end = end - count, end - count
        arguments = [
            as_payload(UNDO),
            as_payload(mapper.plan.to_json(concurrency=1)),
            _payload({name: plain(value, name) for name, value in values.items()}),
            _payload(part),
            as_payload(first + start),
            _payload(None if before is None else before.part(start, count, first)),
        ]
        child_id = child_run_id(temporal.info().workflow_id, str(first + start))
        await scope.calls.start_child(map_workflow, child_id, arguments)


def _payload(value: Any) -> Payload:
    return encode_argument(value, temporal.payload_converter())


map_workflow: Workflow[..., Any] = Workflow(
    run_map, name=MAP_WORKFLOW, options=WorkflowOptions(sandboxed=False)
)
