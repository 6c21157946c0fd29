"""Tools: steps and executors that a model may ask for, what it is told of them, and the check of what it says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from holdfast import Executor, InvalidInput, Step
from holdfast.authoring.registry import registry
from holdfast.spec.cel_values import is_list, is_map
from holdfast.spec.check_config import compile_schema
from holdfast_executors.llm_models import LlmNodeTool, LlmTool

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_NAME_CHARS: Final = 64
_SHOWN_PROBLEMS: Final = 5


def problems_in(error: ValidationError) -> str:
    """What is wrong with a value that a model wrote, for the model."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'the value'}: {problem['msg']}"
        for problem in problems[:_SHOWN_PROBLEMS]
    )


class BadArguments(Exception):
    """What the model wrote does not fit the tool; the text is for the model."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Something that a model may ask for. Made by `llm.tool`."""

    told: LlmTool
    """What the model is told."""

    read: Callable[[Mapping[str, Any]], Any]
    """Checks the arguments, and makes of them what `call` takes."""

    call: Callable[[Any], Coroutine[Any, Any, Any]]
    """Calls it: a durable step inside a workflow."""

    def prepare(self, arguments: Mapping[str, Any]) -> Any:
        """What the model wrote, checked.

        Raises:
            BadArguments: It does not fit.
        """
        try:
            return self.read(arguments)
        except ValidationError as error:
            raise BadArguments(f"the arguments do not fit: {problems_in(error)}") from None


_MAX_DEPTH: Final = 100
"""Levels of arguments: what carries them adds some, and two hundred are all that can be read."""


def arguments_in(text: str) -> Mapping[str, Any]:
    """The arguments that a model wrote.

    Raises:
        BadArguments: They are no JSON object.
    """
    try:
        value: object = from_json(text or "{}", allow_inf_nan=False)
    except ValueError as error:
        raise BadArguments(f"the arguments are no JSON: {error}") from None
    if not is_map(value):
        raise BadArguments("the arguments are no JSON object")
    if _is_deep(value, _MAX_DEPTH):
        raise BadArguments(f"the arguments nest deeper than {_MAX_DEPTH} levels")
    return value


def _is_deep(value: object, levels: int) -> bool:
    if is_map(value):
        return levels == 0 or any(_is_deep(below, levels - 1) for below in value.values())
    return is_list(value) and (levels == 0 or any(_is_deep(below, levels - 1) for below in value))


def step_tool(step: Step[..., Any], *, name: str | None, description: str | None) -> Tool:
    """A step as a tool: the model writes its arguments."""
    signature = step.signature
    adapters = dict(zip(signature.names, signature.adapters, strict=True))
    required = [p.name for p in signature.parameters if p.default is p.empty]

    def read(arguments: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := arguments.keys() - adapters.keys():
            raise BadArguments(
                f"there is no {', '.join(sorted(unknown))}; it takes {', '.join(adapters) or 'nothing'}"
            )
        if missing := [name for name in required if name not in arguments]:
            raise BadArguments(f"{', '.join(missing)} is missing")
        read: dict[str, Any] = {}
        for name, value in arguments.items():
            try:
                read[name] = adapters[name].validate_json(to_json(value))
            except ValidationError as error:
                raise BadArguments(f"{name} does not fit: {problems_in(error)}") from None
        return read

    kind: Literal["validation"] = "validation"
    parts, shared = TypeAdapter.json_schemas(
        [(parameter, kind, adapter) for parameter, adapter in adapters.items()]
    )
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {parameter: parts[parameter, kind] for parameter in adapters},
        "required": required,
        "additionalProperties": False,
        **shared,
    }
    told = _told(name or step.name, description or _first_paragraph(step.__doc__), schema)
    return Tool(told=told, read=read, call=lambda arguments: step(**arguments))


def executor_tool(
    executor: type[Executor[Any, Any]],
    *,
    takes: Sequence[str],
    config: Mapping[str, object],
    name: str | None,
    description: str | None,
) -> Tool:
    """An executor as a tool: the model writes some fields of its config, the others are given here.

    Raises:
        InvalidInput: There is no such field, or one is given twice.
    """
    schema = _schema_of(executor, takes, config)

    def read(arguments: Mapping[str, Any]) -> BaseModel:
        _refuse_foreign(arguments, takes)
        return executor.Config.model_validate_json(
            to_json({**config, **arguments}), by_alias=True, by_name=True
        )

    told = _told(name or executor.type, description or _first_paragraph(executor.__doc__), schema)
    return Tool(told=told, read=read, call=executor.call)


def node_tool(entry: LlmNodeTool) -> Tool | None:
    """What a node lends, for the turns of the model; the run makes the calls. None for what is only described.

    Raises:
        InvalidInput: This worker has no such step or executor, or it has no such fields.
    """
    name, description = entry.name or None, entry.description or None
    if entry.step is not None:
        step = registry().step(entry.step)
        if step is None:
            raise InvalidInput(f"tools: the worker that asks the model has no step {entry.step!r}")
        return step_tool(step, name=name, description=description)
    if entry.executor is None:
        return None
    executor = registry().executors.find(entry.executor)
    schema = _schema_of(executor, entry.takes, {})
    problems = compile_schema(schema, templates=False)

    def read(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        _refuse_foreign(arguments, entry.takes)
        if found := problems(
            arguments
        ):  # the rest of the config is not known here, so this is all that can be said
            listed = [f"{'.'.join(map(str, path)) or 'the value'}: {message}" for message, path in found]
            raise BadArguments(f"the arguments do not fit: {'; '.join(listed[:_SHOWN_PROBLEMS])}")
        return arguments

    told = _told(name or executor.type, description or _first_paragraph(executor.__doc__), schema)
    return Tool(told=told, read=read, call=executor.call)


def by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    """Tools by the name that the model knows.

    Raises:
        InvalidInput: Two have the same.
    """
    found = {tool.told.name: tool for tool in tools}
    if len(found) < len(tools):
        names = [tool.told.name for tool in tools]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InvalidInput(
            f"several tools are called {', '.join(map(repr, twice))}: give them names with tool(..., name=)"
        )
    return found


def _schema_of(
    executor: type[Executor[Any, Any]], takes: Sequence[str], config: Mapping[str, object]
) -> dict[str, Any]:
    """The JSON Schema of the fields that a model writes.

    Raises:
        InvalidInput: There is no such field, or one is given twice.
    """
    fields = executor.Config.model_json_schema()
    properties: dict[str, Any] = fields.get("properties", {})
    if unknown := [field for field in (*takes, *config) if field not in properties]:
        raise InvalidInput(
            f"executor {executor.type!r} has no field {', '.join(map(repr, unknown))}; it has {', '.join(properties)}"
        )
    if twice := [field for field in takes if field in config]:
        raise InvalidInput(
            f"{', '.join(map(repr, twice))} of executor {executor.type!r} is both given and left to the model"
        )
    return {
        "type": "object",
        "properties": {field: properties[field] for field in takes},
        "required": [field for field in fields.get("required", []) if field in takes],
        "additionalProperties": False,
        **({"$defs": fields["$defs"]} if "$defs" in fields else {}),
    }


def _refuse_foreign(arguments: Mapping[str, Any], takes: Sequence[str]) -> None:
    if foreign := arguments.keys() - set(takes):
        raise BadArguments(f"there is no {', '.join(sorted(foreign))}; it takes {', '.join(takes)}")


def _told(name: str, description: str, schema: dict[str, Any]) -> LlmTool:
    return LlmTool(name=_name(name), description=description, parameters=schema)


def _name(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:_NAME_CHARS]


def _first_paragraph(doc: str | None) -> str:
    return " ".join(inspect.cleandoc(doc or "").split("\n\n")[0].split())
