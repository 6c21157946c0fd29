"""Which names a node may have, and what the other names in an expression mean."""

from __future__ import annotations

import re
from typing import Final

IDENTIFIER: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*", re.ASCII)
"""The identifiers of CEL."""

MAX_ID_CHARS: Final = 64
"""No node id is longer."""

CEL_WORDS: Final = frozenset(
    (
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    )
)
"""The reserved words of CEL."""

CEL_TYPES: Final = frozenset(
    (
        "bool",
        "bytes",
        "double",
        "duration",
        "dyn",
        "int",
        "list",
        "map",
        "null_type",
        "optional_type",
        "string",
        "timestamp",
        "type",
        "uint",
    )
)
"""Identifiers that CEL already gives a meaning."""

OUR_WORDS: Final = frozenset({"input", "variables", "item", "index", "iteration", "secrets", "output"})
"""Names that expressions and templates give a meaning: the run's input, the document's variables, the item of a map
and its position, the count of a loop, the worker's secrets."""

RESERVED: Final = CEL_WORDS | CEL_TYPES | OUR_WORDS
"""No node has one of these ids."""

CONTROL_TYPES: Final = frozenset({"switch", "wait", "approval", "timer", "workflow"})
"""Node types that the run itself carries out; every other type names an executor."""

STEP_TYPE: Final = "step"
"""The node type that calls a `@step`: its config is `{"step": name, "arguments": {parameter: value}}`."""


def is_identifier(text: str) -> bool:
    """Whether it is an identifier of CEL, of at most 64 characters."""
    return len(text) <= MAX_ID_CHARS and IDENTIFIER.fullmatch(text) is not None


def as_identifier(text: str) -> str:
    """An allowed id that is like this text, for suggestions."""
    made = re.sub(r"[^a-zA-Z0-9]+", "_", text, flags=re.ASCII).strip("_")[: MAX_ID_CHARS - 1] or "node"
    if made[0].isdigit() or made in RESERVED:
        made = f"{made}_" if made in RESERVED else f"n{made}"
    return made
