"""Typed output: four ways to ask for it, from the surest down, and the check of what comes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue

from holdfast.spec.cel_values import is_list, is_map
from holdfast.spec.check_config import compile_schema
from holdfast_executors.llm_models import Body, LlmConfig, LlmMessage, Reply, Rung

RUNGS: Final[tuple[Rung, ...]] = ("json_schema", "tool", "json_object", "text")

_NAME: Final = "answer"

_STRICT: Final = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"}
    | {"$ref", "$defs", "description", "title"}
)
"""The keywords that every endpoint with strict schemas takes."""

_FENCED: Final = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_SHOWN_PROBLEMS: Final = 5


class Shape:
    """A JSON Schema that an answer must fit. What is no object travels in one, since the API takes only objects.

    Args:
        schema: The schema.

    Raises:
        ValueError: It is no JSON Schema.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._problems = compile_schema(schema, templates=False)
        self._wrapped = schema.get("type") != "object"
        schema = _closed(schema)
        self.sent: dict[str, Any] = dict(schema)
        if self._wrapped:
            inner = {key: part for key, part in schema.items() if key not in ("$defs", "$schema")}
            self.sent = {
                "type": "object",
                "properties": {"value": inner},
                "required": ["value"],
                "additionalProperties": False,
                **({"$defs": schema["$defs"]} if "$defs" in schema else {}),
            }

    def read(self, reply: Reply, rung: Rung) -> tuple[JsonValue, list[str], bool]:
        """The value of an answer.

        Returns:
            The value, what is wrong with it, and whether it is JSON at all.
        """
        texts = [reply.text]
        if rung == "tool" and reply.tool_calls:
            texts.insert(0, reply.tool_calls[0].arguments)
        for text in texts:
            found = _json_in(text)
            if found is None:
                continue
            [value] = found
            if self._wrapped and isinstance(value, dict) and value.keys() == {"value"}:
                value = value["value"]
            problems = [
                f"{'/'.join(map(str, path)) or 'the value'}: {message}"
                for message, path in self._problems(value)
            ]
            return value, problems[:_SHOWN_PROBLEMS], True
        return None, ["the answer is no JSON"], False

    @property
    def instructions(self) -> str:
        """What tells a model of the schema in words."""
        schema = json.dumps(self.sent, ensure_ascii=False)
        return f"Answer with one JSON value that fits this JSON Schema, and with nothing else:\n{schema}"

    def again(self, problems: Sequence[str]) -> str:
        """What to tell a model whose answer does not fit."""
        return f"This does not fit: {'; '.join(problems)}. Mend it. {self.instructions}"


def rungs_of(config: LlmConfig) -> list[Rung]:
    """The ways that there are for this config. A tool that must be called leaves no room for other tools."""
    return [rung for rung in RUNGS if rung != "tool" or not config.tools]


def instructed(messages: Sequence[LlmMessage], shape: Shape, rung: Rung) -> list[LlmMessage]:
    """The conversation, with the schema in words where nothing else tells the model of it."""
    if rung in ("json_schema", "tool"):
        return list(messages)
    return [LlmMessage(role="system", content=shape.instructions), *messages]


def shaped(body: Body, shape: Shape, rung: Rung, api: str) -> Body:
    """The body of a request that asks for typed output in this way."""
    described: Body = {"name": _NAME, "schema": shape.sent, "strict": is_strict(shape.sent)}
    if rung == "tool":
        function = {"name": _NAME, "description": "Give the answer.", "parameters": shape.sent}
        if api == "chat":
            tool: Body = {"type": "function", "function": function}
            choice: Body = {"type": "function", "function": {"name": _NAME}}
        else:
            tool = {"type": "function", "strict": False, **function}
            choice = {"type": "function", "name": _NAME}
        return {**body, "tools": [tool], "tool_choice": choice}
    if rung == "text":
        return body
    if api == "chat":
        chosen: Body = {"type": "json_object"}
        if rung == "json_schema":
            chosen = {"type": "json_schema", "json_schema": described}
        return {**body, "response_format": chosen}
    chosen = {"type": "json_schema", **described} if rung == "json_schema" else {"type": "json_object"}
    return {**body, "text": {**body.get("text", {}), "format": chosen}}


def is_strict(schema: object) -> bool:
    """Whether endpoints take it as strict: every object closed, every property required, no rarer keywords."""
    if is_list(schema):
        return all(map(is_strict, schema))
    if not is_map(schema):
        return True
    known: Mapping[str, Any] = schema
    if not known.keys() <= _STRICT:
        return False
    if "properties" in known or known.get("type") == "object":
        if known.get("additionalProperties") is not False:
            return False
        if set(known.get("required", [])) != set(known.get("properties", {})):
            return False
    parts = [known.get("items"), known.get("anyOf")]
    for key in ("properties", "$defs"):
        parts += known.get(key, {}).values()
    return all(map(is_strict, parts))


def _closed(schema: Any) -> Any:
    """The same, where objects whose properties are all required take no others: endpoints demand that of a schema that
    they enforce, and what was written for Python seldom says it."""
    if is_list(schema):
        return [_closed(part) for part in schema]
    if not is_map(schema):
        return schema
    made = {key: _closed(part) for key, part in schema.items()}
    properties = schema.get("properties")
    if is_map(properties) and set(properties) == set(schema.get("required", ())):
        made.setdefault("additionalProperties", False)
    return made


def _json_in(text: str) -> list[JsonValue] | None:
    """The JSON value of an answer, in a list; also in a fence, or with words around it."""
    fenced = _FENCED.search(text)
    for candidate in (text, fenced.group(1) if fenced else "", text[_start(text) :]):
        try:
            value, end = _DECODER.raw_decode(candidate.strip())
        except (ValueError, RecursionError):
            continue
        if candidate is not text or end == len(candidate.strip()):
            return [value]
    return None


def _start(text: str) -> int:
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    return min(starts, default=len(text))


def _refuse(constant: str) -> JsonValue:
    raise ValueError(f"{constant} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse)
