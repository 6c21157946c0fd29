"""Effects on the world: what undoes them, and what happens when they are repeated."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from holdfast.spec.audit.remark import Remark, placed
from holdfast.spec.model import DagSpec, NodeSpec
from holdfast.spec.names import CONTROL_TYPES, STEP_TYPE

_WITHOUT_EFFECT = frozenset({*CONTROL_TYPES, "transform", "convert", "merge", "llm", "emit"})
"""Types of nodes that change nothing outside the run, or are safe to repeat by themselves; a sub-workflow undoes its
own steps."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""HTTP methods that may be repeated (RFC 9110, section 9.2.2)."""


def check_effects(spec: DagSpec, safe_steps: Collection[str]) -> Iterator[Remark]:
    """Remarks about effects.

    Args:
        spec: The document.
        safe_steps: The names of steps that are stated to be idempotent.
    """
    for path, node in placed(spec):
        safe = node.config.get("step") in safe_steps if node.type == STEP_TYPE else False
        if (
            node.local and not safe and node.type == STEP_TYPE
        ):  # executors may be local only if they are idempotent
            yield Remark(
                "HF-A013",
                f"{node.id!r} is local: after a crash it may run again, also when it had completed",
                "Make its step idempotent and say so (`@step(idempotent=True)`), or take `local` out.",
                node.id,
                f"{path}.local",
            )
        if node.compensate is None and not safe and _has_effect(node):
            yield Remark(
                "HF-A011",
                f"{node.id!r} may change something outside, and nothing undoes it or makes it safe to repeat",
                "Give it `compensate`, or an idempotency key; `@step(idempotent=True)` states that it needs none.",
                node.id,
                path,
            )


def _has_effect(node: NodeSpec) -> bool:
    if node.type in _WITHOUT_EFFECT:
        return False
    given = node.config.get("arguments" if node.type == STEP_TYPE else "headers")
    keyed = isinstance(given, dict) and any(
        name.lower().replace("-", "_") == "idempotency_key" for name in given
    )
    repeatable = node.type == "http" and str(node.config.get("method", "GET")).upper() in _SAFE_METHODS
    return not keyed and not repeatable
