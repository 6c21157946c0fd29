"""`transform` nodes with `local: true` that the run does itself, without a step, where they are cheap.

Nothing of that is in the history: what the node gave is computed again where the run is replayed. So a node is done
here only where its state can be told from its neighbours, and one that fails is left to its executor, whose failure
everybody can see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.authoring.registry import registry
from holdfast.engine.calls import Calls
from holdfast.engine.data.in_workflow import encode_argument
from holdfast.engine.evaluation import Evaluation
from holdfast.engine.payloads import has_refs
from holdfast.engine.task_budget import TASK_BYTES
from holdfast.errors import InvalidInput, PayloadTooLarge
from holdfast.spec.cel_values import is_map
from holdfast.spec.expressions import (
    MAX_BYTES_IN_PROCESS,
    MAX_ELEMENTS_IN_PROCESS,
    Expression,
    compile,
)
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec, NodeSpec, switch_targets
from holdfast.spec.templates import expressions, names, render

_TYPE: Final = "transform"
_CODE: Final = frozenset({"expression", "mapping", "jq"})
"""Fields of the config in which nothing is rendered."""

_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "template": frozenset({"template"}),
    "expression": frozenset({"expression", "data", "variables"}),
    "mapping": frozenset({"mapping", "data", "variables"}),
    "passthrough": frozenset({"passthrough", "data"}),
}
"""The ways of making a value that are known here, each with the fields that it may have."""

_COST_BYTES: Final = TASK_BYTES // 100
"""Of what a workflow task may carry: a hundred nodes are done in one, so that none holds its thread for long."""

_MAX_EXPRESSIONS: Final = 100
_EFFORT: Final = 100_000
"""Of one node: what its expressions may join, search and compare, 5 ms at most; see `Expression.evaluate`."""


class Inside:
    """Does what it may of a run's nodes.

    Args:
        spec: The document.
        calls: How the run calls steps.
        evaluation: Where values are decoded.
    """

    def __init__(self, spec: DagSpec, calls: Calls, evaluation: Evaluation) -> None:
        self._spec = spec
        self._calls = calls
        self._evaluation = evaluation
        self._nodes = _candidates(spec)

    async def output(self, node: NodeSpec, scope: Mapping[str, Payload]) -> Payload | None:
        """The output of a node; None where its executor is to be called."""
        if node.id not in self._nodes or registry().stands_in:
            return None
        takes = self._spec.dependencies[node.id]
        async with self._calls.charge(_COST_BYTES):
            try:
                return self._output(node.config, takes, scope)
            except (InvalidInput, PayloadTooLarge):
                return None

    def _output(
        self, config: Mapping[str, Any], takes: Sequence[str], scope: Mapping[str, Payload]
    ) -> Payload | None:
        rendered = {key: value for key, value in config.items() if key not in _CODE}
        needed = sorted({*names(rendered), *(() if "data" in config else takes)})
        payloads = {name: scope[name] for name in needed if name in scope}
        if sum(len(payload.data) for payload in payloads.values()) > MAX_BYTES_IN_PROCESS:
            return None
        if any(map(has_refs, payloads.values())):
            return None
        values = {name: self._evaluation.decode(payload, name) for name, payload in payloads.items()}
        found = list(expressions(rendered))
        code = [compile(text) for text in _code(config)]
        effort = _EFFORT // max(1, len(found) + len(code))

        def evaluate(expression: Expression, over: Mapping[str, object]) -> Any:
            return expression.evaluate(over, max_effort=effort)

        if not _is_cheap(found, values):
            return None
        given = render(rendered, values, evaluate=evaluate, max_chars=MAX_BYTES_IN_PROCESS)
        data = given["data"] if "data" in given else {name: values[name] for name in takes}
        variables = {**given.get("variables", {}), "input": data}
        if not _is_cheap(code, variables):
            return None
        if "template" in config:
            output = given["template"]
        elif "passthrough" in config:
            output = data
        elif "expression" in config:
            output = evaluate(code[0], variables)
        else:
            output = {
                name: evaluate(expression, variables)
                for name, expression in zip(config["mapping"], code, strict=True)
            }
        payload = encode_argument(output, workflow.payload_converter(), where="The output of a node")
        return payload if len(payload.data) <= MAX_BYTES_IN_PROCESS else None


def _code(config: Mapping[str, Any]) -> Sequence[str]:
    return [config["expression"]] if "expression" in config else list(config.get("mapping", {}).values())


def _is_cheap(found: Sequence[Expression], values: Mapping[str, object]) -> bool:
    """Whether all of them together are no more than one expression may be that a run evaluates itself."""
    if len(found) > _MAX_EXPRESSIONS:
        return False
    elements = size_bytes = 0
    for expression in found:
        cost = expression.cost(values)
        elements, size_bytes = elements + cost.elements, size_bytes + cost.size_bytes
        if elements > MAX_ELEMENTS_IN_PROCESS or size_bytes > MAX_BYTES_IN_PROCESS:
            return False
    return True


def _candidates(spec: DagSpec) -> frozenset[str]:
    wanted = {
        node.id
        for node in spec.nodes
        if node.type == _TYPE
        and node.local
        and node.map is None
        and node.loop is None
        and node.compensate is None
        and _is_known(node.config)
    }
    return frozenset(wanted - _may_be_skipped(spec)) if wanted else frozenset()


def _is_known(config: Mapping[str, Any]) -> bool:
    """Whether it is well formed, for all that is done here; its executor says what is wrong with any other one."""
    ways = [way for way in _FIELDS if way in config]
    if len(ways) != 1 or not config.keys() <= _FIELDS[ways[0]]:
        return False
    mapping, variables = config.get("mapping", {}), config.get("variables", {})
    return (
        isinstance(config.get("expression", ""), str)
        and is_map(mapping)
        and all(isinstance(text, str) for text in mapping.values())
        and is_map(variables)
        and "input" not in variables
        and config.get("passthrough", True) is True
    )


def _may_be_skipped(spec: DagSpec) -> set[str]:
    """The nodes of which only events say whether they ran."""
    found: set[str] = set()
    chosen = {target for node in spec.nodes if node.type == "switch" for target in switch_targets(node)}
    graph = Graph.of(spec)
    for node_id in graph.order:
        node = spec.by_id[node_id]
        if (
            node.when is not None
            or node_id in chosen
            or node.when_exhausted != "fail"
            or not found.isdisjoint(graph.dependencies[node_id])
        ):
            found.add(node_id)
    return found
