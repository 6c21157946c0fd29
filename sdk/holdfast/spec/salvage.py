"""The rest of a document whose form is wrong somewhere, so that what else is wrong with it is said at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError

from holdfast.spec.finding import Finding
from holdfast.spec.model import CompensateSpec, DagSpec, LoopSpec, MapSpec, NodeSpec, RetrySpec
from holdfast.spec.source import Path, path_text

UNREADABLE: Final = "\0"
"""Stands for a type, and begins the id of a node, that cannot be read."""

_PARTS: Final[Mapping[str, type[BaseModel]]] = {
    "map": MapSpec,
    "loop": LoopSpec,
    "retry": RetrySpec,
    "compensate": CompensateSpec,
}
_OPTIONAL: Final = {
    name: {key for key, described in part.model_fields.items() if not described.is_required()}
    for name, part in _PARTS.items()
}

_NEXT_STEP: Final = re.compile(r"[.\[]|\Z")

_OF_DEPENDENCIES: Final = frozenset({"HF-D013", "HF-D042"})
"""What may be found only because a dependency cannot be read."""

_OF_NODES: Final = _OF_DEPENDENCIES | {"HF-D010", "HF-D041"}
"""What may be found only because a node cannot be read."""


def findings_of_the_rest(
    value: object, problems: Sequence[Path], check: Callable[[DagSpec], list[Finding]]
) -> list[Finding]:
    """What is wrong with the readable part of a document. Nothing is said that may only follow from the rest.

    Args:
        value: The document.
        problems: Where its form is wrong.
        check: Finds what is wrong with a spec.
    """
    rest = _Rest.of(value, problems)
    if rest is None:
        return []
    try:
        spec = DagSpec.model_validate(rest.document, by_alias=True, by_name=False)
    except ValidationError:
        return []
    return [found for found in check(spec) if not rest.blurs(found)]


@dataclass
class _Rest:
    """A copy of a document without what cannot be read. Positions stay as they are."""

    document: dict[str, Any]
    left_out: set[str] = field(default_factory=set[str])
    """The places of what is left out."""
    unsure_codes: frozenset[str] = frozenset()
    unsure_names: set[str] = field(default_factory=set[str])
    """Nodes whose expressions may name what cannot be read, such as an item."""

    @classmethod
    def of(cls, value: object, problems: Sequence[Path]) -> _Rest | None:
        """None if there is no list of nodes."""
        if not isinstance(value, dict):
            return None
        rest = cls(dict(cast("dict[str, Any]", value)))
        nodes: object = rest.document.get("nodes")
        if not isinstance(nodes, list):
            return None
        for name in ("nodes", "edges"):
            if isinstance(listed := rest.document.get(name), list):
                rest.document[name] = [*listed]
        for path in problems:
            rest.leave_out(path)
        return rest

    def leave_out(self, path: Path) -> None:
        """Take out what stands at a path, or put something in its place that stands for nothing."""
        top, *below = path
        if not below:
            self.left_out.add(str(top))
            self.document.pop(str(top), None)
            if top == "name":
                self.document["name"] = "unreadable"
            self._doubt_if(_may_mean(str(top), "edges"), _OF_DEPENDENCIES)
        elif top == "edges":
            self.document["edges"][below[0]] = {"from": "", "to": ""}
            self.left_out.add(path_text(path[:2]))
            self._doubt_if(True, _OF_DEPENDENCIES)
        elif top == "nodes" and isinstance(below[0], int):
            self._leave_out_of_node(below[0], [str(part) for part in below[1:]])
        else:
            self.left_out.add(str(top))
            self.document.pop(str(top), None)

    def _leave_out_of_node(self, index: int, path: Sequence[str]) -> None:
        before: object = self.document["nodes"][index]
        node: dict[str, Any] = dict(cast("dict[str, Any]", before)) if isinstance(before, dict) else {}
        self.document["nodes"][index] = node
        name = path[0] if path else "id"
        if name == "id":
            node["id"] = f"{UNREADABLE}{index}"
        if name == "type" or "type" not in node:
            node["type"] = UNREADABLE
        inner = path[1] if len(path) > 1 else ""
        gone = f"nodes[{index}]" if not path else f"nodes[{index}].{name}"
        if inner in _OPTIONAL.get(name, ()) and isinstance(part := node.get(name), dict):
            node[name] = {key: below for key, below in cast("dict[str, Any]", part).items() if key != inner}
            gone = f"{gone}.{inner}"
        elif name not in ("id", "type"):
            node.pop(name, None)
        self.left_out.add(gone)
        unknown = name not in NodeSpec.model_fields
        if unknown or (name in ("map", "loop") and inner not in ("concurrency", "on_error")):
            self.unsure_names.add(str(node.get("id")))
        self._doubt_if(name == "id", _OF_NODES)
        may_be_switch = node["type"] in ("switch", UNREADABLE)
        self._doubt_if(
            _may_mean(name, "depends_on") or (name in ("config", "type") and may_be_switch), _OF_DEPENDENCIES
        )

    def _doubt_if(self, condition: bool, codes: frozenset[str]) -> None:
        self.unsure_codes |= codes if condition else frozenset[str]()

    def blurs(self, finding: Finding) -> bool:
        """Whether a finding may only follow from what is left out."""
        if finding.code in self.unsure_codes or (finding.node or "").startswith(UNREADABLE):
            return True
        if finding.code in ("HF-D041", "HF-D042") and finding.node in self.unsure_names:
            return True
        ends = [match.start() for match in _NEXT_STEP.finditer(finding.path)]
        return any(finding.path[:end] in self.left_out for end in ends)


def _may_mean(written: str, name: str) -> bool:
    return bool(difflib.get_close_matches(written, [name]))
