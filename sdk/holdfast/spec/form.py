"""What is wrong with the form of a document, in the words of documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from holdfast.options import NAMED_RETRIES
from holdfast.spec.check_graph import closest
from holdfast.spec.finding import Finding
from holdfast.spec.model import (
    BudgetSpec,
    CompensateSpec,
    DagOptions,
    DagSpec,
    EdgeSpec,
    LoopSpec,
    MapSpec,
    NodeSpec,
    RetrySpec,
)
from holdfast.spec.plain import json_kind, json_shown
from holdfast.spec.source import Path, path_text

_PARTS: Final[Mapping[tuple[str, ...], type[BaseModel]]] = {
    (): DagSpec,
    ("nodes",): NodeSpec,
    ("nodes", "map"): MapSpec,
    ("nodes", "loop"): LoopSpec,
    ("nodes", "retry"): RetrySpec,
    ("nodes", "compensate"): CompensateSpec,
    ("edges",): EdgeSpec,
    ("options",): DagOptions,
    ("options", "budget"): BudgetSpec,
}
"""The parts of a document by the fields that lead to them."""

_EXPECTED: Final = {
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "an object",
    "dict_type": "an object",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "invalid-json-value": "a value of JSON",
}
_BOUNDS: Final = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def form_findings(value: Any, problems: Iterable[ErrorDetails]) -> Iterator[Finding]:
    """Findings about a value that is no DAG document.

    Args:
        value: The value.
        problems: What its model says.
    """
    for problem in problems:
        path = tuple(problem["loc"])
        message, fix = _told(problem, path)
        yield Finding(code="HF-D001", message=message, fix=fix, node=_node(value, path), path=path_text(path))


def _told(problem: ErrorDetails, path: Path) -> tuple[str, str]:
    """What is wrong, and what to do."""
    kind, given, context = problem["type"], problem["input"], problem.get("ctx", {})
    field = path_text(path) or "the document"
    if kind == "extra_forbidden":
        return (
            f"there is no field {path[-1]!r} in {_holder(path)}",
            f"{closest(str(path[-1]), _fields(path[:-1]))}Remove it, or correct its spelling.",
        )
    if kind == "missing":
        return f"the field {path[-1]!r} is missing in {_holder(path)}", "Add it."
    if kind == "value_error":
        meant = closest(given, NAMED_RETRIES) if isinstance(given, str) and path[-1] == "retry" else ""
        return f"{field}: {context['error']}", f"{meant}Correct it."
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "")
        meant = closest(str(given), choices.replace(" or ", ", ").split(", "))
        return f"{field} is {json_shown(given)}; it may be {choices}", f"{meant}Write one of these."
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        limit = f"{words} {context[name]:,}"
        return f"{field} is {json_shown(given)}; it must be {limit}", f"Write a number of {limit}."
    if kind == "string_too_short":
        return f"{field} is empty", "Write at least one character."
    if kind == "string_too_long":
        most = f"{context['max_length']:,} characters"
        return f"{field} has {len(given):,} characters; at most {most} are read", f"Shorten it to {most}."
    if kind == "string_pattern_mismatch":
        return (
            f"{field} is {json_shown(given)}; it holds other characters than letters, digits, '.', '_', ':' and '-'",
            "Leave them out, spaces included.",
        )
    if path[-1:] == ("[key]",):
        return f"{path_text(path[:-2])} has the key {json_shown(given)}; a key is text", "Put it in quotes."
    if kind not in _EXPECTED:
        return f"{field} is {json_kind(given)}, which is not allowed there", "Follow the JSON Schema."
    return (
        f"{field} is {json_shown(given)}; expected {_EXPECTED[kind]}",
        _fix_of_type(_EXPECTED[kind], given, path[-1] if path else ""),
    )


def _fix_of_type(expected: str, given: object, field: str | int) -> str:
    if expected == "text" and isinstance(given, int | float):
        return f'Put it in quotes: "{json_shown(given)}".'
    if field in ("depends_on", "non_retryable") and isinstance(given, str):
        return f"Put it in brackets: [{json_shown(given)}]."
    return f"Write {expected}."


def _holder(path: Path) -> str:
    return path_text(path[:-1]) or "the document"


def _fields(path: Path) -> list[str]:
    """The fields of the part of a document at a path."""
    part = _PARTS[tuple(step for step in path if isinstance(step, str))]
    return [field.serialization_alias or name for name, field in part.model_fields.items()]


def _node(value: Any, path: Path) -> str | None:
    if len(path) < 2 or path[0] != "nodes" or not isinstance(path[1], int):
        return None
    try:
        node_id = value["nodes"][path[1]]["id"]
    except (LookupError, TypeError):
        return None
    return node_id if isinstance(node_id, str) else None
