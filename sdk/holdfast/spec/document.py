"""Reading and writing DAG documents: JSON and YAML to `DagSpec` and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias, cast

from pydantic import ValidationError

from holdfast.errors import InvalidInput
from holdfast.spec.finding import Finding, cut
from holdfast.spec.form import form_findings
from holdfast.spec.model import DagSpec
from holdfast.spec.salvage import findings_of_the_rest
from holdfast.spec.source import Path, Place, json_places, nearest
from holdfast.spec.strict_json import MAX_JSON_BYTES, decode_text, parse_json
from holdfast.spec.strict_yaml import MAX_YAML_BYTES, parse_yaml, write_yaml, yaml_places

Check: TypeAlias = Callable[[DagSpec], list[Finding]]
"""Finds what is wrong with a spec."""

_STEP_OF_PATH: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def _check(spec: DagSpec) -> list[Finding]:
    from holdfast.spec.validate import validate  # which reads the documents inside of documents

    return validate(spec)


def load_json(data: str | bytes, *, max_bytes: int = MAX_JSON_BYTES, check: Check = _check) -> DagSpec:
    """The spec that a JSON document describes.

    Args:
        data: The document.
        max_bytes: No larger one is read.
        check: Looks at the rest of a document whose form is wrong somewhere. Default: `holdfast.spec.validate`.

    Raises:
        InvalidInput: It is not strict JSON (with `line` and `column`), or not a DAG document: then `findings` holds
            everything that is wrong with it, each as the dictionary of a `Finding`.
    """
    text = decode_text(data, max_bytes)
    return _spec(parse_json(text, max_bytes=max_bytes), lambda: json_places(text), check)


def load_yaml(data: str | bytes, *, max_bytes: int = MAX_YAML_BYTES, check: Check = _check) -> DagSpec:
    """The spec that a YAML 1.2 document describes; arguments as for `load_json`.

    Raises:
        InvalidInput: As for `load_json`.
    """
    text = decode_text(data, max_bytes)
    return _spec(parse_yaml(text, max_bytes=max_bytes), lambda: yaml_places(text), check)


def load_value(value: Any, *, check: Check = _check) -> DagSpec:
    """The spec that a JSON value describes, for example the body of a request that was parsed already; `check` as for
    `load_json`.

    Raises:
        InvalidInput: It is not a DAG document; with `findings`.
    """
    return _spec(value, dict, check)


def dump_json(spec: DagSpec, *, complete: bool = False, indent: int | None = 2) -> str:
    """The JSON document of a spec, as its author wrote it; `complete` also writes what has its default."""
    return json.dumps(spec.document(complete=complete), indent=indent, ensure_ascii=False)


def dump_yaml(spec: DagSpec, *, complete: bool = False) -> str:
    """The YAML document of a spec; it reads back as the same spec."""
    return write_yaml(spec.document(complete=complete))


def _spec(value: Any, places: Callable[[], dict[Path, Place]], check: Check) -> DagSpec:
    try:
        return DagSpec.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    rest = findings_of_the_rest(value, [tuple(problem["loc"]) for problem in problems], check)
    findings = placed(cut([*form_findings(value, problems), *rest]), places(), _ids(value))
    raise InvalidInput(
        "\n".join(["not a DAG document:", *(f"- {finding}" for finding in findings[:20])]),
        findings=[finding.as_dict() for finding in findings],
    )


def placed(findings: Iterable[Finding], places: Mapping[Path, Place], ids: Sequence[str]) -> list[Finding]:
    """Findings with their line and column in the text of the document, at least those of their node.

    Args:
        findings: Without them.
        places: Where everything stands in the text.
        ids: The ids of the nodes, in the order of the document.
    """
    index_of = {node_id: index for index, node_id in reversed(list(enumerate(ids)))}
    return [_placed(finding, places, index_of) for finding in findings]


def _placed(finding: Finding, places: Mapping[Path, Place], index_of: Mapping[str, int]) -> Finding:
    path: list[str | int] = [
        int(index) if index else key for index, key in _STEP_OF_PATH.findall(finding.path)
    ]
    if not path and finding.node is not None and finding.node in index_of:
        path = ["nodes", index_of[finding.node]]
    place = nearest(places, path)
    return replace(finding, line=place[0], column=place[1]) if place else finding


def _ids(value: object) -> list[str]:
    nodes: object = cast("dict[str, Any]", value).get("nodes") if isinstance(value, dict) else None
    listed = cast("list[object]", nodes) if isinstance(nodes, list) else []
    return [str(cast("dict[str, Any]", node).get("id")) if isinstance(node, dict) else "" for node in listed]
