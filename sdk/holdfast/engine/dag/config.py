"""What the configs of nodes say, read for the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

from holdfast.authoring.workflow import Workflow
from holdfast.engine.data.values import is_object
from holdfast.errors import InvalidInput
from holdfast.options import StepOptions
from holdfast.spec.duration import parse_duration
from holdfast.spec.model import NodeSpec


def bind_input(child: Workflow[..., Any], value: Any) -> list[Any]:
    """The arguments of a workflow that gets one input: itself for one parameter, its members for several.

    Raises:
        InvalidInput: It has no such members.
    """
    names = child.signature.names
    if len(names) == 1:
        return [value]
    members = value if is_object(value) else {}
    if (not names and value is not None) or (names and not is_object(value)):
        raise InvalidInput(
            f"workflow {child.name!r} takes {', '.join(names) or 'no input'}, got {type(value).__name__}"
        )
    return child.signature.bind([], members)


def map_items(over: object, node: str) -> Sequence[Any]:
    """The items of a map.

    Raises:
        InvalidInput: It is neither a list nor a count.
    """
    if isinstance(over, list):
        items: list[Any] = over  # pyright: ignore[reportUnknownVariableType]
        return items
    if isinstance(over, int) and not isinstance(over, bool):
        if over < 0:
            raise InvalidInput(f"map.over of node {node!r} is {over}: a count is zero or more")
        return range(over)
    kind = "null, as the output of a skipped node is" if over is None else type(over).__name__
    raise InvalidInput(f"map.over of node {node!r} is {kind}: it must be a list or a count")


def switch_ids(value: Any) -> list[str]:
    """The nodes that one way of a switch names."""
    return [value] if isinstance(value, str) else list(value)


def timer_seconds(config: Mapping[str, Any]) -> float:
    """How long a timer waits from now, in seconds."""
    if "until" in config:
        until = datetime.fromisoformat(str(config["until"]))
        return max((until - workflow.now()).total_seconds(), 0.0)
    duration: timedelta = parse_duration(config["duration"])
    return duration.total_seconds()


def step_options(node: NodeSpec) -> StepOptions:
    """The options of the step that a node calls; what the document leaves out has its default."""
    options: dict[str, Any] = {"summary": node.title, "local": bool(node.local)}
    if node.timeout is not None:
        options["timeout"] = node.timeout
    if node.retry is not None:
        options["retry"] = node.retry.policy
    return StepOptions(**options)
