"""Whether a text among others is meant to be a DAG document."""

from __future__ import annotations

import json
import re
from typing import Final

import yaml as pyyaml

from holdfast.errors import InvalidInput
from holdfast.spec.strict_json import parse_json
from holdfast.spec.strict_yaml import MAX_YAML_BYTES, parse_yaml

_NODES: Final = re.compile(r"""\bnodes["']?\s*:""")
_LOADER: Final = getattr(pyyaml, "CSafeLoader", pyyaml.SafeLoader)


def is_dag_document(text: str, *, yaml: bool) -> bool | None:
    """Whether a text is meant to be a DAG: it has a name and a list of nodes.

    Args:
        text: The content of a file.
        yaml: Whether it is YAML; else JSON.

    Returns:
        True also for what cannot be read but speaks of nodes; None where nobody can tell, since no other program can
        read it either.
    """
    try:
        value = parse_yaml(text) if yaml else parse_json(text)
    except InvalidInput:
        if _NODES.search(text):
            return True
        return False if _others_read(text, yaml=yaml) else None
    match value:
        case {"name": _, "nodes": [*_] | {}}:
            return True
        case _:
            return False


def _others_read(text: str, *, yaml: bool) -> bool:
    """Whether a reader that is not strict takes a text: with anchors, several documents, NaN."""
    try:
        if not yaml:
            json.loads(text)
        elif len(text) <= MAX_YAML_BYTES:
            for _ in pyyaml.parse(text, Loader=_LOADER):
                pass
    except (ValueError, RecursionError, pyyaml.YAMLError):
        return False
    return True
