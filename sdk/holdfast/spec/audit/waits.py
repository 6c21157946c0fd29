"""What may take for ever: waits without a timeout, retries without end."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.spec.audit.remark import Remark, placed
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec
from holdfast.spec.names import CONTROL_TYPES

_WAITS = {
    "wait": "a message",
    "approval": "a decision",
    "workflow": "another workflow",
}


def check_waits(spec: DagSpec, graph: Graph) -> Iterator[Remark]:
    """Remarks about nodes that nothing bounds. The timeout of the run bounds waits and retries."""
    del graph
    bounded = spec.options.timeout is not None
    budget = spec.options.budget
    if budget is not None and budget.when_exceeded == "pause" and not bounded:
        yield Remark(
            "HF-A014",
            "once its budget is used up, the run waits for somebody to raise it, for ever",
            "Give the run a timeout (`options: {timeout: 7d}`), or let it fail: `when_exceeded: fail`.",
            path="options.budget",
        )
    for path, node in placed(spec):
        if node.type in _WAITS and node.timeout is None and not bounded:
            yield Remark(
                "HF-A008",
                f"{node.id!r} may wait for {_WAITS[node.type]} for ever",
                "Give it a timeout, or give one to the run: `options: {timeout: 7d}`.",
                node.id,
                path,
            )
        if node.type not in CONTROL_TYPES and node.timeout is None:
            yield Remark(
                "HF-A009",
                f"{node.id!r} has the timeout that its step or executor happens to have",
                "Say how long one attempt may take: `timeout: 30s`.",
                node.id,
                path,
            )
        if node.retry is not None and node.retry.max_attempts == 0 and not bounded:
            yield Remark(
                "HF-A010",
                f"{node.id!r} is tried again without end, also when it can never succeed",
                "Give `max_attempts`, name what is `non_retryable` and bound the run by `options: {timeout: ...}`.",
                node.id,
                f"{path}.retry",
            )
