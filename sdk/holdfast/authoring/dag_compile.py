"""From the nodes of a `Dag` to the document."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.authoring.dag_options import NodeRef
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
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Compiler:
    """Resolves what nodes name, once all of them are known."""

    def __init__(self, name: str, drafts: Sequence[Draft], edges: Sequence[tuple[NodeRef, NodeRef]]) -> None:
        self.name = name
        self.drafts = drafts
        self.edges = edges

    def compile(self, head: Mapping[str, Any], expressions: Expressions | None) -> DagSpec:
        """The checked document.

        Args:
            head: The document without nodes.
            expressions: The expression language. Default: CEL.
        """
        ids = {draft.id for draft in self.drafts}
        nodes = {id(draft): self._document(draft, ids) for draft in self.drafts}
        for source, target in self.edges:
            wanted = self._id(target)
            holder = next((d for d in self.drafts if d.id == wanted), None)
            if holder is None:
                raise InvalidWorkflow(f"add_edge: {wanted!r} is no node of dag {self.name!r}; add it first")
            nodes[id(holder)]["depends_on"].append(self._id(source))
        document = {**head, "nodes": list(nodes.values())}
        for node_id, names in referenced(load_value(document), expressions).items():
            for node in nodes.values():
                if node["id"] == node_id:
                    node["depends_on"] += sorted(names - {node_id})
        for node in nodes.values():
            node["depends_on"] = list(dict.fromkeys(node["depends_on"]))
        spec = load_value(document)
        ensure_valid(spec, expressions=expressions)
        return spec

    def _id(self, ref: NodeRef) -> str:
        if isinstance(ref, str):
            return ref
        found = [draft.id for draft in self.drafts if draft.step is ref]
        if len(found) != 1:
            what = f"is called by {len(found)} nodes" if found else "is in no node"
            raise InvalidWorkflow(f"{ref!r} {what} of dag {self.name!r}: name the node by its id")
        return found[0]

    def _document(self, draft: Draft, ids: set[str]) -> dict[str, Any]:
        config = dict(draft.config)
        if draft.type == "switch":
            config["cases"] = [{**case, "to": self._ids(case["to"])} for case in config["cases"]]
            config["default"] = self._ids(config["default"])
        if arguments := self._arguments(draft, ids):
            config["arguments"] = arguments
        return {
            "id": draft.id,
            "type": draft.type,
            "config": config,
            **draft.fields,
            "depends_on": self._ids(draft.depends_on),
        }

    def _ids(self, refs: Iterable[NodeRef]) -> list[str]:
        return [self._id(ref) for ref in refs]

    def _arguments(self, draft: Draft, ids: set[str]) -> dict[str, Any]:
        arguments = dict(draft.arguments)
        names = {"input", "variables"} | ids
        if "map" in draft.fields:
            names |= {draft.fields["map"]["item_name"], "index"}
        if "loop" in draft.fields:
            names |= {"iteration"}
        else:
            names -= {draft.id}
        for parameter in draft.step.signature.parameters if draft.step else ():
            if parameter.name in arguments:
                continue
            if parameter.name in names:
                arguments[parameter.name] = f"{{{{ {parameter.name} }}}}"
            elif parameter.default is inspect.Parameter.empty and draft.step is not None:
                raise InvalidWorkflow(
                    f"{where(draft.step.fn)}: parameter {parameter.name!r} is no node of dag {self.name!r}; there is: "
                    f"{', '.join(sorted(names))}. Rename it, give it a default, or pass arguments={{...}}"
                )
        return arguments
