"""`map_steps` from the inside of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow

from holdfast.authoring.step import Step
from holdfast.engine.budget import Budget
from holdfast.engine.calls import Calls
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.data.in_workflow import decode_in_workflow
from holdfast.engine.data.refs import is_list
from holdfast.engine.maps.mapper import Mapper
from holdfast.engine.maps.plan import MapPlan, OnError
from holdfast.errors import StepFailed


async def map_steps(
    calls: Calls, step: Step[..., Any], items: Sequence[Any], concurrency: int, on_error: OnError
) -> Any:
    """Call a step once per item; what the authoring side has checked is taken as it is."""
    calls.ordinals[f"map {step.name}"] += 1
    number = calls.ordinals[f"map {step.name}"]
    plan = MapPlan(
        activity=step.name,
        label=step.name if number == 1 else f"{step.name}-map{number}",
        step=step.name,
        options=step.options,
        concurrency=concurrency,
        on_error=on_error,
        undo={"activity": step.compensation.name} if step.compensation else None,
    )
    mapper = Mapper(calls, plan, {}, budget=Budget(usage=calls.usage))
    outputs = await mapper.run(items)
    kind: Any = step.signature.hints.get("return", Any)
    adapter = make_adapter(list[kind | None] if mapper.failed else list[kind])
    converter = workflow.payload_converter()
    results: Any = decode_in_workflow(outputs, adapter, converter, where=f"The results of step {step.name!r}")
    if is_list(results):
        for index, failed in mapper.failed.items():
            results[index] = StepFailed(failed.message, step=step.name, error_type=failed.error_type)
    return results
