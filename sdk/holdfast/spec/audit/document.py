"""The audit of a DAG document's text: findings with their lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from holdfast.errors import HoldfastError, InvalidInput
from holdfast.spec.audit.level import Level
from holdfast.spec.audit.spec import audit_spec
from holdfast.spec.document import load_json, load_yaml
from holdfast.spec.finding import Finding
from holdfast.spec.source import Place, json_places, path_text
from holdfast.spec.strict_yaml import yaml_places


def audit_document(text: str, *, yaml: bool, level: Level = "normal") -> list[Finding]:
    """Audit a document as it is written.

    Args:
        text: The document.
        yaml: Whether it is YAML; else JSON.
        level: How strict.

    Returns:
        The findings of `audit_spec`, with line and column; of what is no JSON or YAML, or not of the form of a DAG
        document, only those about that.
    """
    try:
        spec = load_yaml(text) if yaml else load_json(text)
    except InvalidInput as error:
        return unreadable(error)
    findings = audit_spec(spec, level=level)
    if not findings:
        return []
    places = {
        path_text(path): place for path, place in (yaml_places(text) if yaml else json_places(text)).items()
    }
    paths = {node.id: f"nodes[{index}]" for index, node in enumerate(spec.nodes)}
    return [
        _placed(finding, places, finding.path or paths.get(finding.node or "", "")) for finding in findings
    ]


def unreadable(error: HoldfastError) -> list[Finding]:
    """Why something is no DAG that can be looked at, as findings: what `load_json` or `load_yaml` says."""
    if listed := error.details.get("findings"):
        return [Finding(**found) for found in listed]
    line, column = error.details.get("line"), error.details.get("column")
    return [
        Finding(
            code="HF-D001",
            message=error.message.removeprefix(f"line {line}, column {column}: ").rstrip("."),
            fix="Correct it, then check again.",
            line=line,
            column=column,
        )
    ]


def _placed(finding: Finding, places: Mapping[str, Place], path: str) -> Finding:
    while path and path not in places:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    place = places.get(path)
    return dataclasses.replace(finding, line=place[0], column=place[1]) if place else finding
