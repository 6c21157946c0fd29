"""The macros: `all`, `exists`, `exists_one`, `filter` and `map`, over the elements of a list or the keys of a map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from holdfast.spec.cel_ast import Macro, Node, children
from holdfast.spec.cel_values import (
    LISTS,
    MAPS,
    CelError,
    CelList,
    Work,
    from_key,
    kind_of,
    placed,
    read,
    shown,
)

Run = Callable[[Work], Any]
"""A compiled node."""

NODES_PER_ELEMENT: Final = 64
"""A macro's element counts as one for every 64 nodes of its body, so that a long body costs what it takes."""


def weight(*bodies: Node | None) -> int:
    """What one element of a macro with these bodies counts, without the macros inside them."""
    count, todo = 0, [body for body in bodies if body is not None]
    while todo:
        node = todo.pop()
        count += 1
        todo.extend(children(node))
    return -(-count // NODES_PER_ELEMENT)


class Loop:
    """What the macros share: the elements, one after the other as the variable."""

    def __init__(self, over: Run, node: Macro) -> None:
        self.over = over
        self.kind = node.kind
        self.variable = node.variable
        self.at = node.at
        self.weight = weight(node.condition, node.body)

    def elements(self, work: Work) -> list[Any]:
        value = self.over(work)
        if kind_of(value) in MAPS:
            return [from_key(key) for key in value]
        if kind_of(value) in LISTS:
            return cast("list[Any]", value)
        raise CelError(f"{self.kind}() goes over lists and maps, not {shown(value)}", self.at)

    def run(self, work: Work, element: Any, body: Run) -> Any:
        """The body for one element."""
        variables, name = work.variables, self.variable
        outer = variables.get(name, self)
        try:
            variables[name] = read(element)
            return body(work)
        except CelError as error:
            raise placed(error, self.at) from None
        finally:
            if outer is self:
                variables.pop(name, None)
            else:
                variables[name] = outer

    def test(self, work: Work, element: Any, body: Run) -> bool:
        """A body that is a condition."""
        value = self.run(work, element, body)
        if type(value) is bool:
            return value
        raise CelError(f"the condition of {self.kind}() is {shown(value)}, not a boolean", self.at)


def _map_macro(loop: Loop, condition: Run | None, body: Run) -> Run:
    def run(work: Work) -> CelList:
        made = CelList()
        for element in loop.elements(work):
            work.visit(loop.weight)
            if condition is None or loop.test(work, element, condition):
                made.append(loop.run(work, element, body))
        return made

    return run


def _filter_macro(loop: Loop, condition: Run | None, body: Run) -> Run:
    def run(work: Work) -> CelList:
        made = CelList()
        for element in loop.elements(work):
            work.visit(loop.weight)
            if loop.test(work, element, body):
                made.append(element)
        return made

    return run


def _exists_one_macro(loop: Loop, condition: Run | None, body: Run) -> Run:
    def run(work: Work) -> bool:
        count = 0
        for element in loop.elements(work):
            work.visit(loop.weight)
            count += loop.test(work, element, body)
        return count == 1

    return run


def _quantifier(decisive: bool) -> Callable[[Loop, Run | None, Run], Run]:
    """`exists` and `all`: what decides wins over errors at other elements."""

    def make(loop: Loop, condition: Run | None, body: Run) -> Run:
        def run(work: Work) -> bool:
            first: CelError | None = None
            for element in loop.elements(work):
                work.visit(loop.weight)
                try:
                    if loop.test(work, element, body) is decisive:
                        return decisive
                except CelError as error:
                    first = first or error
            if first is not None:
                raise first
            return not decisive

        return run

    return make


MACROS: Final[dict[str, Callable[[Loop, Run | None, Run], Run]]] = {
    "all": _quantifier(False),
    "exists": _quantifier(True),
    "exists_one": _exists_one_macro,
    "filter": _filter_macro,
    "map": _map_macro,
}
