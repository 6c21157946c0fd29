"""Choices: switches without a default or with too many cases, and what no choice leads to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from holdfast.spec.audit.cases import cases_of, constant, default_of, reachable_targets
from holdfast.spec.audit.remark import Remark, placed
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec, NodeSpec, switch_targets


def check_branches(spec: DagSpec, graph: Graph) -> Iterator[Remark]:
    """Remarks about switches and conditions."""
    for path, node in placed(spec):
        if node.type == "switch":
            yield from _check_switch(node, path)
    never = _never_run(spec, graph)
    for path, node in placed(spec):
        said = node.when is not None and node.when.strip() == "false"  # HF-D013
        if node.id in never and not said:
            yield Remark(
                "HF-A003",
                f"{node.id!r} never runs: {never[node.id][1]}",
                "Correct the condition, or remove the node.",
                node.id,
                path,
            )


def _check_switch(node: NodeSpec, path: str) -> Iterator[Remark]:
    cases = cases_of(node)
    count = len(cases)
    if count and not default_of(node):
        yield Remark(
            "HF-A005",
            f"{node.id!r} has {count} case{'s' if count > 1 else ''} and no default: if none holds, "
            "all that it leads to is skipped without a word",
            "Name a node in `default`, for example one that fails or tells somebody.",
            node.id,
            f"{path}.config",
            count,
        )
    yield Remark(
        "HF-A006",
        f"{node.id!r} chooses among {count} cases",
        "Split it into several switches, or look the answer up in a map.",
        node.id,
        f"{path}.config",
        count,
    )
    for index, case in enumerate(cases):
        if case.never is not None:
            yield Remark(
                "HF-A007",
                f"{node.id!r} never chooses case {index + 1} ({case.when!r}): {case.never}",
                "Correct its condition, move it up, or remove it.",
                node.id,
                f"{path}.config.cases[{index}]",
            )


def _never_run(spec: DagSpec, graph: Graph) -> dict[str, tuple[Literal["node", "branch", "cascade"], str]]:
    """The nodes that every run skips, each with how it is skipped and why: the rules of the interpreter, as far as
    they hold for every input."""
    never: dict[str, tuple[Literal["node", "branch", "cascade"], str]] = {}
    targets = {
        node.id: (frozenset(switch_targets(node)), reachable_targets(node))
        for node in spec.by_id.values()
        if node.type == "switch"
    }
    for node_id in graph.order:
        node, sources = spec.by_id[node_id], graph.dependencies[node_id]
        skips = {source: never[source][0] for source in sources if source in never}
        cascade = next((source for source, skip in skips.items() if skip == "cascade"), None)
        unchosen = next(
            (
                source
                for source in sources
                if source in targets
                and source not in never
                and node_id in targets[source][0]
                and node_id not in targets[source][1]
            ),
            None,
        )
        if cascade is not None:
            never[node_id] = ("cascade", f"{cascade!r}, for which it waits, never runs")
        elif unchosen is not None:
            never[node_id] = ("branch", f"{unchosen!r} never chooses it")
        elif sources and all(skips.get(source) == "branch" for source in sources):
            never[node_id] = ("branch", "no choice leads to what it waits for")
        elif node.when is not None and constant(node.when) is False:
            skip: Literal["node", "cascade"] = "cascade" if node.when_unmet == "skip_cascade" else "node"
            never[node_id] = (skip, f"its condition {node.when!r} is always false")
    return never
