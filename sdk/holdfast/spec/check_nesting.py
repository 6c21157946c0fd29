"""Sub-workflows: that they exist, do not start themselves, and are not nested too deep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from holdfast.spec.check_graph import closest
from holdfast.spec.finding import Finding
from holdfast.spec.model import DagSpec, NodeSpec

MAX_NESTING: Final = 10
"""Sub-workflows are nested at most this deep."""


def child_name(node: NodeSpec) -> str | None:
    """The workflow that a node starts, if it is known before the run."""
    name = node.config.get("workflow") if node.type == "workflow" else None
    return name if isinstance(name, str) and "{{" not in name else None


def check_nesting(spec: DagSpec, workflows: Mapping[str, DagSpec | None] | None) -> Iterator[Finding]:
    """Findings about the workflows that a document starts, directly or through others."""
    known: dict[str, DagSpec | None] = {**(workflows or {}), spec.name: spec}
    depths: dict[str, int] = {}
    for index, node in enumerate(spec.nodes):
        name = child_name(node)
        if name is None:
            continue
        path = f"nodes[{index}].config.workflow"
        if name not in known:
            if workflows is not None:
                yield Finding(
                    code="HF-D033",
                    message=f"{node.id!r} starts the workflow {name!r}, which does not exist",
                    fix=f"{closest(name, known)}Name a workflow that exists, or create it first.",
                    node=node.id,
                    path=path,
                )
        elif chain := _way_back(spec.name, name, known):
            yield Finding(
                code="HF-D023",
                message=f"{node.id!r} makes the workflow start itself: {' -> '.join(chain)}",
                fix="Use a loop, or start the next run with a trigger.",
                node=node.id,
                path=path,
            )
        elif (depth := _depth(name, known, depths)) > MAX_NESTING:
            yield Finding(
                code="HF-D022",
                message=f"{node.id!r} starts workflows nested {depth} deep; at most {MAX_NESTING} are run",
                fix="Write some of them into one document.",
                node=node.id,
                path=path,
            )


def inline_documents(spec: DagSpec) -> Iterator[tuple[int, NodeSpec, dict[str, Any]]]:
    """The nodes that hold the document of the workflow they start, with their positions."""
    for index, node in enumerate(spec.nodes):
        held: object = node.config.get("workflow") if node.type == "workflow" else None
        if isinstance(held, dict):
            yield index, node, cast("dict[str, Any]", held)


def _children(name: str, known: Mapping[str, DagSpec | None]) -> list[str]:
    spec = known.get(name)
    return [] if spec is None else list(dict.fromkeys(filter(None, map(child_name, spec.nodes))))


def _way_back(top: str, child: str, known: Mapping[str, DagSpec | None]) -> list[str] | None:
    """The shortest chain of starts from `top` through `child` to `top`, if there is one."""
    came_from = {child: top}
    todo = [child]
    for name in todo:
        if name == top:
            break
        for below in _children(name, known):
            if below not in came_from:
                came_from[below] = name
                todo.append(below)
    if top not in came_from:
        return None
    chain = [top, came_from[top]]
    while chain[-1] != top:
        chain.append(came_from[chain[-1]])
    return chain[::-1]


def _depth(name: str, known: Mapping[str, DagSpec | None], depths: dict[str, int]) -> int:
    """How many workflows are nested from this one on. Cycles that do not touch the top are somebody else's error and
    count as one level."""
    stack: list[tuple[str, bool]] = [(name, False)]
    while stack:
        current, seen = stack.pop()
        if seen:
            below = [depths.get(child, 0) for child in _children(current, known)]
            depths[current] = 1 + max(below, default=0)
        elif current not in depths:
            depths[current] = 0
            stack.append((current, True))
            stack.extend((child, False) for child in _children(current, known))
    return depths[name]
