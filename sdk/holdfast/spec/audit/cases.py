"""The cases of a switch node, and which of them can be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from holdfast.errors import InvalidInput
from holdfast.spec.expressions import compile as compile_cel
from holdfast.spec.model import NodeSpec


class Case(NamedTuple):
    """One way of a switch."""

    when: str
    targets: frozenset[str]
    never: str | None
    """Why it is never chosen; `None` if it may be."""


def constant(expression: str) -> bool | None:
    """The value of a condition that names nothing; `None` if it depends on something or is no condition."""
    try:
        compiled = compile_cel(expression)
        return None if compiled.names else compiled.evaluate_bool({})
    except InvalidInput:  # `validate` reports what does not compile
        return None


def cases_of(node: NodeSpec) -> list[Case]:
    """The cases as they are tried; those of a wrong form are left out."""
    found: list[Case] = []
    written = node.config.get("cases")
    seen: dict[str, int] = {}
    closed: int | None = None
    for index, case in enumerate(written if isinstance(written, list) else []):
        if not isinstance(case, dict) or not isinstance(when := case.get("when"), str):
            continue
        text = " ".join(when.split())
        value = constant(when)
        never = None
        if closed is not None:
            never = f"case {closed + 1} is always true"
        elif value is False:
            never = "its condition is always false"
        elif text in seen:
            never = f"case {seen[text] + 1} has the same condition"
        elif value:
            closed = index
        seen.setdefault(text, index)
        found.append(Case(when, frozenset(_ids(case.get("to"))), never))
    return found


def default_of(node: NodeSpec) -> frozenset[str]:
    """Where a switch goes if no case holds."""
    return frozenset(_ids(node.config.get("default")))


def reachable_targets(node: NodeSpec) -> frozenset[str]:
    """The nodes that a switch may choose."""
    cases = cases_of(node)
    chosen = frozenset[str]().union(*(case.targets for case in cases if case.never is None))
    always = any(case.never is None and constant(case.when) for case in cases)
    return chosen if always else chosen | default_of(node)


def _ids(value: JsonValue) -> Sequence[str]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]
