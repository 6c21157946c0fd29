"""The worker's side of a node: its config is rendered where it runs, from the outputs it names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic_core import to_json
from temporalio.api.common.v1 import Payload

from holdfast.authoring.signature import Signature
from holdfast.engine.data.adapters import object_adapter, plain_adapter
from holdfast.engine.data.step_data import StepData
from holdfast.engine.own_activity import own_activity
from holdfast.errors import InvalidInput

EVALUATE = "holdfast.evaluate"
"""The step that renders the input of sub-workflows, and evaluates what is too large for workflow code."""

NODE = "node:"
"""Before the name of a step in the type of the activity that runs it as a node."""


async def node_arguments(
    data: StepData, signature: Signature, payload: Payload, own: Payload, step: str
) -> list[Any]:
    """The arguments of a step that runs as a node, rendered once from the raw outputs they name.

    Args:
        data: How values are read.
        signature: The step's.
        payload: An object with `arguments`, whose strings are templates, `values`, and `own`: the node whose output
            `own` is, or null; perhaps `given`, arguments in which nothing is a template.
        own: The node's own output, for what undoes it.
        step: The step's name, for messages.

    Raises:
        InvalidInput: An argument is missing, one too many or does not fit, or a template has no value.
    """
    call: dict[str, Any] = await data.decode(payload, object_adapter(), where=f"The call of {step!r}")
    outputs: dict[str, Any] = call["values"]
    if call["own"] is not None:
        outputs[call["own"]] = await data.decode(own, plain_adapter(), where=f"The output of {call['own']!r}")
    given = await _soon(call["arguments"], outputs) | call.get("given", {})
    values: list[Any] = []
    for parameter, adapter in zip(signature.parameters, signature.adapters, strict=True):
        where = f"Argument {parameter.name!r} of step {step!r}"
        if parameter.name in given:
            raw = Payload(metadata={"encoding": b"json/plain"}, data=to_json(given.pop(parameter.name)))
            values.append(await data.decode(raw, adapter, where=where))
        elif parameter.default is not parameter.empty:
            values.append(parameter.default)
        else:
            raise InvalidInput(
                f"{where} is missing; the node's config names {', '.join(call['arguments']) or 'none'}"
            )
    if given:
        raise InvalidInput(f"step {step!r} has no parameter {', '.join(map(repr, given))}")
    return values


async def _soon(arguments: object, values: dict[str, Any]) -> dict[str, Any]:
    """The rendered arguments: at once where that is shorter than going to a thread, else on one."""
    from holdfast.spec.templates import is_light

    try:
        light = is_light(arguments, values)
    except InvalidInput:
        light = True  # rendering says so at once
    return _render(arguments, values) if light else await asyncio.to_thread(_render, arguments, values)


def _render(arguments: object, values: dict[str, Any]) -> dict[str, Any]:
    from holdfast.spec.templates import render

    rendered: dict[str, Any] = render(arguments, values)
    return rendered


def evaluator(data: StepData) -> Callable[..., Any]:
    """The activity that evaluates expressions outside workflow code."""

    async def evaluate(asked: Payload) -> Payload:
        call: dict[str, Any] = await data.decode(asked, plain_adapter(), where="An expression")
        result = await asyncio.to_thread(_evaluate, call)
        return await data.encode_result(result, plain_adapter(), step=EVALUATE)

    return own_activity(EVALUATE, evaluate)


def _evaluate(asked: dict[str, Any]) -> Any:
    from holdfast.spec.expressions import compile, evaluate_anywhere

    if "config" in asked:
        return _render(asked["config"], asked["values"])
    return evaluate_anywhere(compile(asked["expression"]), asked["values"])
