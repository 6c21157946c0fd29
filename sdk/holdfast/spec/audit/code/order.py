"""Where the order of a set gets into a workflow."""

from __future__ import annotations

import ast
from typing import Final

CODE: Final = "HF-A026"
FIX: Final = "Go through `sorted(...)` of it, or keep a list or a dict, which have an order."

_ORDER_FREE: Final = frozenset(
    f"builtins.{name}" for name in ("sorted", "set", "frozenset", "sum", "min", "max", "any", "all", "len")
)
"""Functions whose result does not depend on the order of what they get."""

_PASSES_ON: Final = frozenset(
    f"builtins.{name}" for name in ("list", "tuple", "iter", "enumerate", "map", "filter", "zip", "next")
) | {"collections.deque", "builtins.dict.fromkeys"}
"""Functions that go through what they get, in its order."""

_METHODS: Final = frozenset({"join", "extend"})


class Order:
    """Which expressions of a function stand where order does not matter. Calls are shown from the outside in."""

    def __init__(self) -> None:
        self._free: set[ast.AST] = set()

    def enter(self, call: ast.Call, path: str | None) -> list[ast.expr]:
        """Look at a call.

        Args:
            call: The call.
            path: What is called.

        Returns:
            The arguments that it goes through in their order, where that matters.
        """
        if path in _ORDER_FREE or (call in self._free and path in _PASSES_ON):
            self._free.update(argument for argument in call.args if not _waits(argument))
            return []
        if path in _PASSES_ON or (path or "").startswith("itertools."):
            return [] if call in self._free else list(call.args)
        if isinstance(call.func, ast.Attribute) and call.func.attr in _METHODS:
            return list(call.args)
        return []

    def matters(self, node: ast.AST) -> bool:
        """Whether the order of what an expression makes can be seen."""
        return node not in self._free


def _waits(argument: ast.expr) -> bool:
    """Whether steps run while it is made, whose order is part of the history."""
    return any(isinstance(node, ast.Await) for node in ast.walk(argument))
