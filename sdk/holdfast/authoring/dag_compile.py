"""From the nodes of a `Dag` to the document."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.authoring import scope
from holdfast.authoring.dag_options import NodeRef
from holdfast.authoring.registry import identity
from holdfast.authoring.signature import where
from holdfast.authoring.step import Step
from holdfast.errors import InvalidWorkflow
from holdfast.spec.check_expressions import Expressions, referenced
from holdfast.spec.document import load_value
from holdfast.spec.model import DagSpec
from holdfast.spec.validate import ensure_valid


@dataclass
class Draft:
    """A node as it was declared: references and arguments are not resolved yet."""

    id: str
    type: str
    config: dict[str, Any]
    fields: dict[str, Any]
    depends_on: list[NodeRef] = field(default_factory=list[NodeRef])
    step: Step[..., Any] | None = None
    declared: bool = False
    """Whether the DAG's own decorator made it."""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def redeclares(self, other: Draft) -> bool:
        """Whether the DAG's own decorator made both of the same function."""
        steps = [draft.step.fn for draft in (self, other) if draft.step is not None and draft.declared]
        return len(steps) == 2 and identity(steps[0]) == identity(steps[1])


class Compiler:
    """Resolves what nodes name, once all of them are known."""

    def __init__(self, name: str, drafts: Sequence[Draft], edges: Sequence[tuple[NodeRef, NodeRef]]) -> None:
        self.name = name
        self.drafts = drafts
        self.edges = edges
        self._known = {draft.id for draft in drafts}
        self._ids_of_steps: dict[int, list[str]] = {}
        for draft in drafts:
            if draft.step is not None:
                self._ids_of_steps.setdefault(id(draft.step), []).append(draft.id)

    def compile(self, head: Mapping[str, Any], expressions: Expressions | None) -> DagSpec:
        """The checked document.

        Args:
            head: The document without nodes.
            expressions: The expression language. Default: CEL.
        """
        nodes: dict[str, dict[str, Any]] = {}
        documents = [self._document(draft) for draft in self.drafts]
        for document in documents:
            nodes.setdefault(document["id"], document)
        for source, target in self.edges:
            holder = nodes.get(self._id(target))
            if holder is None:
                raise InvalidWorkflow(f"add_edge: {target!r} is no node of dag {self.name!r}; add it first")
            holder["depends_on"].append(self._id(source))
        draft_of_spec = load_value({**head, "nodes": documents})
        for node_id, names in referenced(draft_of_spec, expressions).items():
            nodes[node_id]["depends_on"] += sorted(names - {node_id})
        for document in documents:
            document["depends_on"] = list(dict.fromkeys(document["depends_on"]))
        spec = load_value({**head, "nodes": documents})
        check_spec(spec, expressions)
        return spec

    def _id(self, ref: NodeRef) -> str:
        if isinstance(ref, str):
            return ref
        found = self._ids_of_steps.get(id(ref), [])
        if len(found) != 1:
            what = f"is called by {len(found)} nodes" if found else "is in no node"
            raise InvalidWorkflow(f"{ref!r} {what} of dag {self.name!r}: name the node by its id")
        return found[0]

    def _document(self, draft: Draft) -> dict[str, Any]:
        config = dict(draft.config)
        if draft.type == "switch":
            config["cases"] = [{**case, "to": self._ids(case["to"])} for case in config["cases"]]
            config["default"] = self._ids(config["default"])
        fields, arguments = dict(draft.fields), self._arguments(draft)
        if arguments:
            config["arguments"] = arguments
        if draft.step is not None and draft.step.compensation and not fields.get("compensate"):
            fields["compensate"] = _compensation(draft.step, draft.id, arguments)
        return {
            "id": draft.id,
            "type": draft.type,
            "config": config,
            **fields,
            "depends_on": self._ids(draft.depends_on),
        }

    def _ids(self, refs: Iterable[NodeRef]) -> list[str]:
        return [self._id(ref) for ref in refs]

    def _arguments(self, draft: Draft) -> dict[str, Any]:
        arguments = dict(draft.arguments)
        if draft.step is None:
            return arguments
        names = {"input", "variables"} | self._known
        if "map" in draft.fields:
            names |= {draft.fields["map"].get("item_name", "item"), "index"}
        if "loop" in draft.fields:
            names |= {"iteration"}
        else:
            names -= {draft.id}
        for parameter in draft.step.signature.parameters:
            if parameter.name in arguments:
                continue
            if parameter.name in names:
                arguments[parameter.name] = f"{{{{ {parameter.name} }}}}"
            elif parameter.default is inspect.Parameter.empty:
                raise InvalidWorkflow(
                    f"{where(draft.step.fn)}: parameter {parameter.name!r} is no node of dag {self.name!r}; there is: "
                    f"{', '.join(sorted(names))}. Rename it, give it a default, or pass arguments={{...}}"
                )
        return arguments


def _compensation(step: Step[..., Any], node_id: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What undoes a node that calls a step with a compensation: the step's arguments, then the node's output."""
    assert step.compensation is not None
    *names, result = step.compensation.signature.names
    taken = {
        mine: arguments[name]
        for mine, name in zip(names, step.signature.names, strict=True)
        if name in arguments
    }
    config = {"step": step.compensation.name, "arguments": {**taken, result: f"{{{{ {node_id} }}}}"}}
    return {"type": "step", "config": config}


def check_spec(spec: DagSpec, expressions: Expressions | None = None) -> None:
    """Refuse a document that is wrong, as far as this process knows.

    Raises:
        InvalidInput: It is wrong; with `findings`.
    """
    if scope.current_run() is None:
        from holdfast.authoring.catalogue import ensure_valid_here

        ensure_valid_here(spec, expressions=expressions)
    else:  # executors are imported outside workflow code, and checked by the worker
        ensure_valid(spec, expressions=expressions)
