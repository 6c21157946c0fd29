"""The state of a DAG's run, completed by what only the server knows: attempts of steps that have not ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo

from holdfast.engine.history.dag_graph import node_of_call, tool_of_call
from holdfast.states import StepState


def has_running_nodes(view: object) -> bool:
    """Whether an answer to the state query is that of a DAG, with nodes that work."""
    return any(node["state"] == StepState.RUNNING for node in _nodes(view).values())


def add_attempts(view: object, pending: Iterable[PendingActivityInfo]) -> None:
    """Say of running nodes which attempt they are at, and of those that wait for the next one that they do; or which of
    their tools does."""
    nodes = _nodes(view)
    for step in pending:
        name, tool = tool_of_call(step.activity_id) or (node_of_call(step.activity_id), None)
        node = nodes.get(name or "")
        if (
            node is None
            or node["state"] != StepState.RUNNING
            or step.attempt < 2
            or node["total"] is not None
        ):
            continue  # of the items of a map, `describe` tells
        if tool is not None:
            node["waits_for"] = f"tool {tool}, attempt {step.attempt}"
            continue
        node["attempts"] = step.attempt
        if step.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
            node["state"] = StepState.RETRYING.value
            node["waits_for"] = f"attempt {step.attempt}"


def _nodes(view: object) -> dict[str, dict[str, Any]]:
    if not isinstance(view, dict):
        return {}
    nodes: Any = view.get("nodes") if "dag" in view else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(nodes, dict):
        return {}
    return {
        str(name): node  # pyright: ignore[reportUnknownArgumentType]
        for name, node in nodes.items()  # pyright: ignore[reportUnknownVariableType]
        if isinstance(node, dict) and {"state", "total"} <= node.keys()
    }
