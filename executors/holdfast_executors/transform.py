"""`transform`: makes a value of other values, by templates, expressions or a jq program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, Field, JsonValue

from holdfast import Executor, ExecutorContext, ExecutorOptions, InvalidInput
from holdfast_executors.jq_child import open_turns, refusal, run_jq

Outputs = Literal["one", "list"]
T = TypeVar("T")


class TransformConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """Give one of `template`, `expression`, `mapping`, `jq` and `passthrough`."""

    template: JsonValue = None
    """What to give back: objects, lists and text with `{{ }}` anywhere inside."""

    expression: str | None = Field(default=None, min_length=1, max_length=10_000)
    """A CEL expression over `input` and the `variables`; its value is the output."""

    mapping: dict[str, str] | None = Field(default=None, min_length=1, max_length=1_000)
    """An object, field by field: for each one a CEL expression, as for `expression`."""

    jq: str | None = Field(default=None, min_length=1, max_length=10_000)
    """A jq program, which gets `input`; `variables` are its `$names`. It has no access to files, modules and the
    environment."""

    passthrough: Literal[True] | None = None
    """Gives back what it gets."""

    data: JsonValue = None
    """What `expression`, `mapping`, `jq` and `passthrough` get as `input`. Default: the input of the node."""

    variables: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Further values by name. Put values here rather than into the text of a program, where they would be code."""

    outputs: Outputs = "one"
    """What a jq program gives: `one` output, anything else being an error, or the `list` of all outputs."""

    seconds: float = Field(default=10, gt=0, le=60)
    """How long a jq program may run, in seconds."""


_WAYS: Final = ("template", "expression", "mapping", "jq", "passthrough")
_NOT_USED: Final[Mapping[str, tuple[str, ...]]] = {
    "template": ("data", "variables", "outputs", "seconds"),
    "expression": ("outputs", "seconds"),
    "mapping": ("outputs", "seconds"),
    "jq": (),
    "passthrough": ("variables", "outputs", "seconds"),
}
"""The fields that have no meaning for each way."""


class Transform(Executor[TransformConfig, JsonValue]):
    """Makes a value of other values: by templates, CEL expressions or a jq program. The value is the output."""

    type = "transform"
    options = ExecutorOptions(
        timeout=timedelta(minutes=2),
        has_effects=False,
        idempotent=True,
        local=True,
        code_fields=("expression", "mapping", "jq"),
    )

    async def execute(self, ctx: ExecutorContext, config: TransformConfig, input: JsonValue) -> JsonValue:
        """See base class."""
        data = config.data if "data" in config.model_fields_set else input
        if config.jq is not None:
            async with await ctx.get(open_turns):
                found = await run_jq(config.jq, data, config.variables, timedelta(seconds=config.seconds))
            return found if config.outputs == "list" else _only(found, config.jq)
        values = {**config.variables, "input": data}
        if config.expression is not None:
            return await _soon([config.expression], values, _evaluate, config.expression)
        if config.mapping is not None:
            return await _soon(config.mapping.values(), values, _mapped, config.mapping)
        return data if config.passthrough else config.template

    def validate(self, config: TransformConfig) -> list[str]:
        """See base class."""
        given = config.model_fields_set
        ways = [
            way for way in _WAYS if way in given and (way == "template" or getattr(config, way) is not None)
        ]
        problems: list[str] = []
        if len(ways) != 1:
            problems.append(f"give one of {', '.join(_WAYS)}, not {' and '.join(ways) or 'none'}")
        elif unused := sorted(given & {*_NOT_USED[ways[0]]}):
            problems.append(f"{', '.join(unused)}: {ways[0]} does not use that")
        if "input" in config.variables:
            problems.append("variables: 'input' is what is worked on; choose another name")
        if config.jq is not None and (refused := refusal(config.jq, config.variables)):
            problems.append(f"jq: {refused}")
        expressions = {"expression": config.expression} if config.expression is not None else {}
        expressions |= {f"mapping.{name}": text for name, text in (config.mapping or {}).items()}
        for place, text in expressions.items():
            problems += [f"{place}: {what}" for what in _unknown(text, {*config.variables, "input"})]
        return problems


async def cel(expression: str, data: object, *, variables: Mapping[str, object] | None = None) -> JsonValue:
    """Evaluate a CEL expression: a step in a workflow, at once elsewhere.

    Args:
        expression: Over `input`, which is `data`, and the variables.
        data: Any value that travels as JSON.
        variables: Further values by name.
    """
    return await Transform.call({"expression": expression, "variables": variables or {}}, input=data)


async def jq(
    program: str, data: object, *, variables: Mapping[str, object] | None = None, outputs: Outputs = "one"
) -> JsonValue:
    """Run a jq program: a step in a workflow, at once elsewhere.

    Args:
        program: The program.
        data: What it gets: any value that travels as JSON.
        variables: Its `$names`.
        outputs: See `TransformConfig.outputs`.
    """
    config = {"jq": program, "variables": variables or {}, "outputs": outputs}
    return await Transform.call(config, input=data)


def _only(outputs: list[JsonValue], program: str) -> JsonValue:
    if len(outputs) != 1:
        raise InvalidInput(
            f"jq program {program[:200]!r} gave {len(outputs)} outputs: make it give one, or set outputs: list"
        )
    return outputs[0]


async def _soon(
    expressions: Iterable[str],
    values: dict[str, JsonValue],
    evaluate: Callable[[T, dict[str, JsonValue]], JsonValue],
    what: T,
) -> JsonValue:
    """What evaluating gives: at once where that is shorter than going to a thread, else on one."""
    from holdfast.spec.expressions import compile

    try:
        light = not any(compile(expression).cost(values).needs_child for expression in expressions)
    except InvalidInput:
        light = True  # evaluating it says so at once
    return evaluate(what, values) if light else await asyncio.to_thread(evaluate, what, values)


def _evaluate(expression: str, values: dict[str, JsonValue]) -> JsonValue:
    from holdfast.spec.expressions import compile, evaluate_anywhere

    found: JsonValue = evaluate_anywhere(compile(expression), values)
    return found


def _mapped(expressions: Mapping[str, str], values: dict[str, JsonValue]) -> JsonValue:
    found: dict[str, JsonValue] = {}
    for name, expression in expressions.items():
        try:
            found[name] = _evaluate(expression, values)
        except InvalidInput as error:
            raise InvalidInput(f"mapping.{name}: {error.message}") from error
    return found


def _unknown(expression: str, known: set[str]) -> list[str]:
    from holdfast.spec.expressions import compile

    try:
        unknown = compile(expression).names - known
    except InvalidInput as error:
        return [error.message]
    return [f"there is no {name!r}; there is: {', '.join(sorted(known))}" for name in sorted(unknown)]
