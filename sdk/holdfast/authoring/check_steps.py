"""What this process finds wrong with the calls of steps that it knows."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from holdfast.authoring.registry import registry
from holdfast.authoring.step import Step
from holdfast.errors import InvalidStep
from holdfast.misfit import invalid
from holdfast.spec.check_graph import closest
from holdfast.spec.finding import Finding
from holdfast.spec.model import DagSpec, NodeSpec
from holdfast.spec.names import STEP_TYPE
from holdfast.spec.schema_words import has_template

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def check_steps(spec: DagSpec) -> Iterator[Finding]:
    """Findings about arguments: missing ones, unknown ones, and constants that do not fit. Steps that this process does
    not know are left to the workers."""
    for index, node in enumerate(spec.nodes):
        yield from _check(node, node.type, node.config, f"nodes[{index}].config")
        if (undo := node.compensate) is not None:
            yield from _check(node, undo.type, undo.config, f"nodes[{index}].compensate.config")


def _check(node: NodeSpec, kind: str, config: Mapping[str, Any], path: str) -> Iterator[Finding]:
    step = _known(config.get("step")) if kind == STEP_TYPE else None
    arguments = config.get("arguments", {})
    if step is None or not isinstance(arguments, dict):
        return
    for name, problem, fix in _problems(step, cast("dict[str, Any]", arguments)):
        place = f"{path}.arguments.{name}" if name in arguments else path
        yield Finding(
            code="HF-D031",
            message=f"{node.id!r}: step {step.name!r} {problem}",
            fix=fix,
            node=node.id,
            path=place,
        )


def _known(name: object) -> Step[..., Any] | None:
    try:
        step = registry().step(name) if isinstance(name, str) else None
        if step is not None:
            step.signature.resolve()
    except InvalidStep:  # the worker that offers it says so
        return None
    return step


def _problems(step: Step[..., Any], arguments: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The argument, what is wrong with it, and what to do."""
    signature = step.signature
    takes = f"It takes {', '.join(signature.names) or 'no arguments'}."
    for name in arguments.keys() - set(signature.names):
        yield name, f"has no parameter {name!r}", f"{closest(name, signature.names)}{takes}"
    for parameter, adapter in zip(signature.parameters, signature.adapters, strict=True):
        name = parameter.name
        if name not in arguments:
            if parameter.default is inspect.Parameter.empty:
                yield name, f"misses the argument {name!r}", f"Write a value or a template. {takes}"
        elif not has_template(arguments[name]) and (problem := _misfit(adapter, arguments[name], name)):
            yield (
                name,
                f"is given a constant that does not fit: {problem}",
                "Write what the step's type allows.",
            )


def _misfit(adapter: TypeAdapter[Any], value: object, name: str) -> str | None:
    """Why a value is none of a type, if it is none; read as a worker reads it."""
    try:
        adapter.validate_json(json.dumps(value), by_alias=True, by_name=True)
    except ValidationError as error:
        return invalid(error, repr(name)).message
    return None
