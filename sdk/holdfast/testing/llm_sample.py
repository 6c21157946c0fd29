"""A small value that fits a JSON Schema: what a `FakeLLM` answers when nobody told it what to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeGuard

_DEPTH: Final = 12

_PLAIN: Final[Mapping[str, Any]] = {"boolean": True, "null": None, "array": [], "object": {}}

_FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "ada@example.com",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def sample(schema: Mapping[str, Any]) -> Any:
    """A value that fits. Patterns and the rarer keywords are not looked at."""
    return _sample(schema, schema, "text", _DEPTH)


def _is_schema(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _sample(schema: Mapping[str, Any], root: Mapping[str, Any], name: str, depth: int) -> Any:
    schema = _resolved(schema, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    for key in ("anyOf", "oneOf"):
        choices = [choice for choice in schema.get(key, []) if choice.get("type") != "null"]
        if choices and depth:
            return _sample(choices[0], root, name, depth - 1)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "string":
        return _text(schema, name)
    if kind == "array" and depth:
        count = max(schema.get("minItems", 0), min(1, schema.get("maxItems", 1)))
        items = schema.get("items")
        return [_sample(items if _is_schema(items) else {}, root, name, depth - 1)] * count
    if kind == "object" and depth:
        wanted = schema.get("required", [])
        return {
            key: _sample(part, root, key, depth - 1)
            for key, part in schema.get("properties", {}).items()
            if key in wanted
        }
    return _PLAIN.get(kind)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(_DEPTH):
        ref = schema.get("$ref")
        if not isinstance(ref, str) or not ref.startswith("#"):
            break
        found: Any = root
        for part in ref.removeprefix("#").strip("/").split("/"):
            found = found.get(part, {}) if part else found
        schema = found
    return schema


def _number(schema: Mapping[str, Any]) -> int | float:
    least: int | float = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    most: int | float = schema.get("maximum", schema.get("exclusiveMaximum", least + 1))
    return least if least <= most else most


def _text(schema: Mapping[str, Any], name: str) -> str:
    text = _FORMATS.get(schema.get("format", ""), name)
    text = text.ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]
