"""What is wrong with a document by what workers have published, where this process does not know better."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, cast

from holdfast.authoring.registry import registry
from holdfast.catalogue import Catalogue, Kind
from holdfast.spec.check_config import compile_schema
from holdfast.spec.check_graph import closest
from holdfast.spec.check_nesting import child_name
from holdfast.spec.finding import Finding
from holdfast.spec.model import DagSpec, NodeSpec
from holdfast.spec.names import CONTROL_TYPES, STEP_TYPE
from holdfast.spec.source import path_text

UNDOES: Final = ".compensate"
"""Behind the name of a step in that of its compensation."""


def check_served(spec: DagSpec, served: Catalogue) -> Iterator[Finding]:
    """Errors: configs of executors and names of arguments that do not fit. Warnings: what no worker has published, as
    one may come that serves it."""
    here = _Here()
    for index, node in enumerate(spec.nodes):
        path = f"nodes[{index}]"
        yield from _check(node, node.type, node.config, path, served, here)
        if (undo := node.compensate) is not None:
            yield from _check(node, undo.type, undo.config, f"{path}.compensate", served, here)
        child = child_name(node)
        if child is not None and child != spec.name and child not in here.workflows:
            yield from _unknown(node, "workflows", child, f"{path}.config.workflow", served)


class _Here:
    """The names that this process knows: other checks are for those."""

    def __init__(self) -> None:
        found = registry()
        self.executors: Collection[str] = {*found.executors.types(), *CONTROL_TYPES, STEP_TYPE}
        self.workflows: Collection[str] = found.workflows()
        self.steps = {name for step in found.all_steps() for name in (step.name, *step.aliases)}
        self.steps |= {f"{name}{UNDOES}" for name in self.steps}


def _check(
    node: NodeSpec, kind: str, config: Mapping[str, Any], path: str, served: Catalogue, here: _Here
) -> Iterator[Finding]:
    if kind == STEP_TYPE:
        name: object = config.get("step")
        if isinstance(name, str) and "{{" not in name and name not in here.steps:
            yield from _unknown(node, "steps", name, f"{path}.config.step", served)
            yield from _arguments(node, name, config.get("arguments", {}), f"{path}.config.arguments", served)
    elif kind not in here.executors:
        yield from _unknown(node, "executors", kind, f"{path}.type", served)
        offer = served.find("executors", kind)
        schema = offer.input_schema if offer is not None else None
        yield from _misfits(node, kind, schema, config, f"{path}.config")


def _unknown(node: NodeSpec, kind: Kind, name: str, path: str, served: Catalogue) -> Iterator[Finding]:
    if served.find(kind, name.removesuffix(UNDOES) if kind == "steps" else name) is None:
        known = [offer.name for offer in getattr(served, kind)]
        yield Finding(
            code="HF-D034",
            message=f"{node.id!r} names the {kind[:-1]} {name!r}, which no worker has published",
            fix=f"{closest(name, known)}Start a worker that serves it, or correct the name.",
            severity="warning",
            node=node.id,
            path=path,
        )


def _arguments(
    node: NodeSpec, name: str, arguments: object, path: str, served: Catalogue
) -> Iterator[Finding]:
    offer = served.find("steps", name)
    if offer is None or offer.input_schema is None:
        return
    # Only the names: workers also read values that a schema refuses, such as "1" for a number.
    properties = cast("Mapping[str, Any]", offer.input_schema.get("properties", {}))
    names = {**offer.input_schema, "properties": dict.fromkeys(properties, True)}
    yield from _misfits(node, name, names, arguments, path)


def _misfits(
    node: NodeSpec, name: str, schema: Mapping[str, Any] | None, value: object, path: str
) -> Iterator[Finding]:
    try:
        problems = compile_schema(schema)(value) if schema else []
    except ValueError:  # a worker has published something else
        return
    for message, below in problems:
        yield Finding(
            code="HF-D031",
            message=f"{node.id!r}: {message}",
            fix=f"Write what {name!r} takes; `holdfast workers show --json` has it.",
            node=node.id,
            path=path_text([path, *below]),
        )
