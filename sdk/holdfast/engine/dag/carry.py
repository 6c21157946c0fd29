"""What a run of a DAG takes along when it continues as new."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from temporalio.api.common.v1 import Payload

from holdfast.engine.dag.following import Chain
from holdfast.engine.dag.state import DagView
from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.data.refs import genuine_refs, list_refs
from holdfast.engine.payloads import as_payload
from holdfast.spec.check_expressions import referenced
from holdfast.spec.expressions import compile
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec
from holdfast.spec.names import CONTROL_TYPES, STEP_TYPE

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(kw_only=True)
class Progress:
    """How far a run has come."""

    view: DagView
    outputs: dict[str, Payload] = field(default_factory=dict[str, Payload])
    """Of the nodes that have ended; null for a skipped one."""
    rounds: dict[str, Payload] = field(default_factory=dict[str, Payload])
    """The last outputs of loops that go on."""
    chains: dict[str, Chain] = field(default_factory=dict[str, Chain])
    """Of nodes whose calls follow from one another."""
    steps: dict[str, Any] = field(default_factory=dict[str, Any])
    """The options of the steps that the nodes call, by name."""
    chosen: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """The ways that switches chose."""

    def to_payload(self, spec: DagSpec) -> Payload:
        """As it goes to the next execution: of the outputs only what something still needs."""
        needed = _needed(spec, self.outputs.keys())
        outputs = {name: payload for name, payload in self.outputs.items() if name in needed}
        payload = as_payload(
            {
                "view": _view_adapter().dump_python(self.view, mode="json"),
                "ended": sorted(self.outputs),
                "outputs": _written(outputs),
                "rounds": _written(self.rounds),
                "chains": {
                    name: [chain.to_json(), *map(_hex, chain.payloads)] for name, chain in self.chains.items()
                },
                "steps": self.steps,
                "chosen": {name: sorted(ways) for name, ways in self.chosen.items()},
            }
        )
        chained = [one for chain in self.chains.values() for one in chain.payloads]
        every = [*outputs.values(), *self.rounds.values(), *chained]
        list_refs(payload, sorted({sha256 for one in every for sha256 in genuine_refs(one)}))
        return payload

    @classmethod
    def of_json(cls, carried: Mapping[str, Any]) -> Progress:
        """What `to_payload` wrote. An output that nothing needs is an empty payload."""
        outputs = {name: Payload() for name in carried["ended"]} | _read(carried["outputs"])
        return cls(
            view=_view_adapter().validate_python(carried["view"]),
            outputs=outputs,
            rounds=_read(carried["rounds"]),
            chains={
                name: Chain.of_json(chain, [_unhex(one) for one in payloads])
                for name, (chain, *payloads) in carried.get("chains", {}).items()
            },
            steps=dict(carried.get("steps", {})),
            chosen={name: frozenset(ways) for name, ways in carried["chosen"].items()},
        )


@functools.cache
def _view_adapter() -> TypeAdapter[DagView]:
    return make_adapter(DagView)


def _needed(spec: DagSpec, ended: Iterable[str]) -> frozenset[str]:
    done = frozenset(ended)
    needed = set[str](Graph.of(spec).leaves if spec.output is None else compile(spec.output).names)
    for node, names in referenced(spec).items():
        if node not in done:
            needed |= names
    for waiting in spec.nodes:
        if waiting.id not in done and waiting.type not in (STEP_TYPE, *CONTROL_TYPES):
            needed.update(spec.dependencies[waiting.id])  # an executor gets all of them as its input
    return frozenset(needed)


def _written(payloads: Mapping[str, Payload]) -> dict[str, str]:
    return {name: _hex(payload) for name, payload in payloads.items()}


def _read(written: Mapping[str, str]) -> dict[str, Payload]:
    return {name: _unhex(text) for name, text in written.items()}


def _hex(payload: Payload) -> str:
    return payload.SerializeToString().hex()


def _unhex(text: str) -> Payload:
    return Payload.FromString(bytes.fromhex(text))
