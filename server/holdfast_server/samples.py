"""A command line that starts a run, with an input that has the right shape."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, cast

from holdfast import Workflow

_MAX_DEPTH = 6

_BY_FORMAT = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "duration": "PT1H",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "ada@example.com",
    "uri": "https://example.com",
}
_BY_TYPE: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.0, "boolean": True, "null": None}


def run_command(app: str, workflow: Workflow[..., Any]) -> str:
    """`holdfast run APP:WORKFLOW --input ...`, with the parameters that have no default filled in."""
    signature = workflow.signature
    values = {
        name: sample(adapter.json_schema())
        for name, adapter, parameter in zip(
            signature.names, signature.adapters, signature.parameters, strict=True
        )
        if parameter.default is parameter.empty
    }
    command = f"holdfast run {shlex.quote(f'{app}:{workflow.name}')}"
    if not values:
        return command
    value: Any = next(iter(values.values())) if len(signature.names) == 1 else values
    return f"{command} --input {shlex.quote(json.dumps(value, ensure_ascii=False))}"


def sample(schema: Mapping[str, Any]) -> Any:
    """A value of the shape that a JSON Schema asks for; lengths, patterns and limits are left to the user."""
    return _sample(schema, cast("Mapping[str, Any]", schema.get("$defs", {})), 0)


def _sample(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return None
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "$ref" in schema:
        return _sample(definitions.get(str(schema["$ref"]).rpartition("/")[2], {}), definitions, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _sample(schema[key][0], definitions, depth + 1)
    kind = schema.get("type")
    if kind == "object":
        properties = cast("Mapping[str, Any]", schema.get("properties", {}))
        required = cast("list[str]", schema.get("required", []))
        return {
            name: _sample(properties[name], definitions, depth + 1) for name in required if name in properties
        }
    if kind == "array":
        items = schema.get("prefixItems") or ([schema["items"]] if schema.get("items") else [])
        return [_sample(item, definitions, depth + 1) for item in items]
    if "format" in schema:
        return _BY_FORMAT.get(str(schema["format"]), "text")
    return _BY_TYPE.get(str(kind), {})
