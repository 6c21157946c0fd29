"""The executors that are installed here, and what keeps some of them from being used."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from holdfast.authoring.catalogue import ExecutorEntry, catalogue
from holdfast.authoring.executors import ExecutorProblem
from holdfast.authoring.registry import registry

EXTRAS: Final[Mapping[str, str]] = {"http": "http", "llm": "llm", "transform": "jq"}
"""The extra of Holdfast that an executor needs for all that it offers."""

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+).*;.*\bextra == ['\"]([^'\"]+)['\"]")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a config or an output."""

    name: str
    type: str
    required: bool
    default: object
    """None where there is none."""
    description: str


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What is here."""

    entries: Sequence[ExecutorEntry]
    problems: Sequence[ExecutorProblem]


def installed() -> Installed:
    """All executors of this process. It imports every one of them."""
    found = catalogue()
    return Installed(
        entries=[found[kind] for kind in sorted(found)], problems=registry().executors.problems()
    )


def version_of(package: str) -> str:
    """The version of a package; empty for a module that no package brought."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def missing_extras() -> dict[str, list[str]]:
    """The packages that are not installed, by the extra of Holdfast that brings them."""
    wanted: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("holdfast") or []:
        found = _REQUIREMENT.match(requirement)
        if found is not None and found[2] in EXTRAS.values() and not version_of(found[1]):
            wanted.setdefault(found[2], []).append(found[1])
    return wanted


def fields(schema: Mapping[str, Any]) -> Iterator[Field]:
    """The fields of an object's JSON Schema."""
    required = set(schema.get("required", []))
    for name, described in schema.get("properties", {}).items():
        yield Field(
            name=name,
            type=type_text(described, schema),
            required=name in required,
            default=described.get("default"),
            description=described.get("description", ""),
        )


def type_text(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """A type as people write it.

    Args:
        schema: Of the value.
        root: The schema that holds the definitions.
    """
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        referred = root.get("$defs", {}).get(name)
        # Only objects are called by their names; inside of another type none is followed, since it may hold itself.
        return name if referred is None or "properties" in referred else type_text(referred, {})
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    for either in ("anyOf", "oneOf"):
        if either in schema:
            return " | ".join(dict.fromkeys(type_text(one, root) for one in schema[either]))
    kinds: object = schema.get("type", "any")
    if isinstance(kinds, list):
        return " | ".join(map(str, cast("list[object]", kinds)))
    if kinds == "array" and isinstance(schema.get("items"), dict):
        return f"list of {type_text(schema['items'], root)}"
    return str(kinds)
