"""The node types that the run itself carries out, and `step`: their configs as JSON Schemas, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_TEXT: Final[dict[str, Any]] = {"type": "string", "minLength": 1}
_IDS: Final[dict[str, Any]] = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": _TEXT, "uniqueItems": True}]
}


def _schema(description: str, required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


CONTROL_SCHEMAS: Final[Mapping[str, dict[str, Any]]] = {
    "switch": _schema(
        "Chooses among the nodes that its cases name: those of the first case whose expression is true, else those of "
        "the default. All others that it names are skipped. Naming a node makes it depend on the switch.",
        ["cases"],
        cases={
            "type": "array",
            "minItems": 1,
            "items": _schema("", ["when", "to"], name=_TEXT, when=_TEXT, to=_IDS),
        },
        default=_IDS,
    ),
    "wait": _schema(
        "Waits for a message to the run; its output is the message. The node's timeout says how long.",
        ["event"],
        event=_TEXT,
        schema={"type": ["object", "boolean"]},
    ),
    "approval": _schema(
        "Waits for a decision by a person; its output is the decision. The node's timeout says how long.",
        ["prompt"],
        prompt=_TEXT,
        form={"type": ["object", "boolean"]},
        name=_TEXT,
    ),
    "timer": {
        **_schema(
            "Waits for a duration or until a time in ISO 8601; its output is null.",
            [],
            duration={"anyOf": [_TEXT, {"type": "number", "exclusiveMinimum": 0}]},
            until=_TEXT,
        ),
        "minProperties": 1,
        "maxProperties": 1,
    },
    "workflow": _schema(
        "Runs another workflow, written as code or as a DAG, as a child; its output is the child's result.",
        ["workflow"],
        workflow={"anyOf": [_TEXT, {"type": "object", "description": "A DAG document of its own."}]},
        input={},
        id=_TEXT,
        queue=_TEXT,
    ),
}
"""The config of each control type. Expressions stand in `when`; all other strings may hold `{{ }}`."""

STEP_SCHEMA: Final[Mapping[str, Any]] = _schema(
    "Calls a @step of a worker; its output is the step's result.",
    ["step"],
    step=_TEXT,
    arguments={"type": "object"},
    queue=_TEXT,
    priority={"type": "integer", "minimum": 1, "maximum": 5},
    heartbeat={"anyOf": [_TEXT, {"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]},
)

_NEVER_RETRIED: Final = ("map", "loop", "retry", "local", "compensate")

UNSUITED: Final[Mapping[str, tuple[str, ...]]] = {
    "switch": (*_NEVER_RETRIED, "timeout"),
    "wait": _NEVER_RETRIED,
    "approval": _NEVER_RETRIED,
    "timer": (*_NEVER_RETRIED, "timeout"),
    "workflow": ("local", "retry"),
}
"""The fields of a node that have no meaning for its type."""
