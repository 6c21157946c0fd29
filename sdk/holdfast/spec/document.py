"""Reading and writing DAG documents: JSON and YAML to `DagSpec` and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from pydantic import ValidationError

from holdfast.errors import InvalidInput
from holdfast.spec.finding import Finding, cut
from holdfast.spec.model import DagSpec
from holdfast.spec.source import Path, Place, json_places, nearest, path_text
from holdfast.spec.strict_json import MAX_JSON_BYTES, decode_text, parse_json
from holdfast.spec.strict_yaml import MAX_YAML_BYTES, parse_yaml, write_yaml, yaml_places

_FIXES: Final = {
    "extra_forbidden": "Remove it, or check its spelling.",
    "missing": "Add it.",
}


def load_json(data: str | bytes, *, max_bytes: int = MAX_JSON_BYTES) -> DagSpec:
    """The spec that a JSON document describes.

    Raises:
        InvalidInput: It is not strict JSON (with `line` and `column`), or not a DAG document: then `findings` holds
            everything that is wrong with its form, each as the dictionary of a `Finding`.
    """
    text = decode_text(data, max_bytes)
    return _spec(parse_json(text, max_bytes=max_bytes), lambda: json_places(text))


def load_yaml(data: str | bytes, *, max_bytes: int = MAX_YAML_BYTES) -> DagSpec:
    """The spec that a YAML 1.2 document describes.

    Raises:
        InvalidInput: As for `load_json`.
    """
    text = decode_text(data, max_bytes)
    return _spec(parse_yaml(text, max_bytes=max_bytes), lambda: yaml_places(text))


def load_value(value: Any) -> DagSpec:
    """The spec that a JSON value describes, for example the body of a request that was parsed already.

    Raises:
        InvalidInput: It is not a DAG document; with `findings`.
    """
    return _spec(value, dict)


def dump_json(spec: DagSpec, *, complete: bool = False, indent: int | None = 2) -> str:
    """The JSON document of a spec, as its author wrote it; `complete` also writes what has its default."""
    return json.dumps(spec.document(complete=complete), indent=indent, ensure_ascii=False)


def dump_yaml(spec: DagSpec, *, complete: bool = False) -> str:
    """The YAML document of a spec; it reads back as the same spec."""
    return write_yaml(spec.document(complete=complete))


def _spec(value: Any, places: Callable[[], dict[Path, Place]]) -> DagSpec:
    try:
        return DagSpec.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        found = places()
        findings = cut(
            _finding(value, problem["loc"], problem["type"], problem["msg"], nearest(found, problem["loc"]))
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise InvalidInput(
            "\n".join(["not a DAG document:", *(f"- {finding}" for finding in findings[:20])]),
            findings=[finding.as_dict() for finding in findings],
        ) from None


def _finding(value: Any, path: Path, kind: str, message: str, place: Place | None) -> Finding:
    field = path_text(path) or "the document"
    if kind == "extra_forbidden":
        message = f"there is no field {path[-1]!r} here"
    elif kind == "missing":
        message = f"the field {path[-1]!r} is missing"
    else:
        message = f"{field}: {message.removeprefix('Value error, ')}"
    return Finding(
        code="HF-D001",
        message=message,
        fix=_FIXES.get(kind, "Write what the schema of DAG documents allows there."),
        node=_node(value, path),
        path=path_text(path),
        line=place[0] if place else None,
        column=place[1] if place else None,
    )


def _node(value: Any, path: Path) -> str | None:
    if len(path) < 2 or path[0] != "nodes" or not isinstance(path[1], int):
        return None
    try:
        node_id = value["nodes"][path[1]]["id"]
    except (LookupError, TypeError):
        return None
    return node_id if isinstance(node_id, str) else None
