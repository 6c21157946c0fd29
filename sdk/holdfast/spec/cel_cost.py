"""How many elements an expression will visit at most, from the sizes of the lists it is given, before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from holdfast.spec.cel_ast import (
    Binary,
    Call,
    Conditional,
    Index,
    ListOf,
    Literal,
    Macro,
    MapOf,
    Name,
    Node,
    Select,
    children,
)
from holdfast.spec.cel_macros import weight
from holdfast.spec.cel_values import OverLimit, is_list, is_map, kind_of

ELEMENTS_PER_COUNT: Final = 64
"""Looking through a list with `in` costs one for so many elements."""

SCALARS: Final = frozenset((int, float, str, bool, type(None)))


class Shape:
    """What is known of a value: its largest size, and the same of what it holds."""

    size: int = 0

    @cached_property
    def elements(self) -> Shape:
        """Any element of it."""
        return self

    def field(self, name: str) -> Shape:
        """The value of one field."""
        return self.elements


class Samples(Shape):
    """One of these values, which were given.

    Args:
        values: All that it can be.
        limit: How many values to follow at most.
    """

    def __init__(self, values: list[Any], limit: int) -> None:
        self.values: list[Any] = [
            value for value in values if kind_of(value) not in SCALARS and (is_map(value) or is_list(value))
        ]
        self.limit = limit
        self.size = max(map(len, self.values), default=0)

    @cached_property
    def elements(self) -> Shape:
        if sum(map(len, self.values)) > self.limit:
            raise OverLimit(f"its data holds more than {self.limit:,} elements")
        return Samples([part for value in self.values for part in _parts(value)], self.limit)

    def field(self, name: str) -> Shape:
        found = [value[name] for value in self.values if is_map(value) and name in value]
        return Samples(found, self.limit)


def _parts(value: Any) -> Any:
    return value.values() if is_map(value) else value


class Made(Shape):
    """A list or a map that the expression makes, or one of several values.

    Args:
        size: Its largest size.
        held: What its elements can be.
    """

    def __init__(self, size: int, held: list[Shape]) -> None:
        self.size = size
        self.held = held

    @cached_property
    def elements(self) -> Shape:
        return _one_of(self.held)


class OneOf(Shape):
    """One of several values."""

    def __init__(self, shapes: list[Shape]) -> None:
        self.shapes = shapes
        self.size = max(shape.size for shape in shapes)

    @cached_property
    def elements(self) -> Shape:
        return _one_of([shape.elements for shape in self.shapes])

    def field(self, name: str) -> Shape:
        return _one_of([shape.field(name) for shape in self.shapes])


SCALAR: Final = Shape()


def _one_of(shapes: list[Shape]) -> Shape:
    different = list({id(shape): shape for shape in shapes if shape is not SCALAR}.values())
    return SCALAR if not different else different[0] if len(different) == 1 else OneOf(different)


def elements(node: Node, values: Mapping[str, Any], limit: int) -> int:
    """The most elements that the macros of an expression can visit, each as often as it is visited.

    Args:
        node: The tree.
        values: The variables.
        limit: How many values to look at.

    Raises:
        OverLimit: The data that macros go over is larger than that.
    """
    return _count(node, {name: Samples([value], limit) for name, value in values.items()})[0]


def _count(node: Node, shapes: dict[str, Shape]) -> tuple[int, Shape]:
    if isinstance(node, Macro):
        return _count_macro(node, shapes)
    counted = [_count(child, shapes) for child in children(node)]
    total = sum(count for count, _ in counted)
    parts = [shape for _, shape in counted]
    match node:
        case Name():
            return total, shapes.get(node.name, SCALAR)
        case Select():
            return total, SCALAR if node.test else parts[0].field(node.field)
        case Index(index=Literal(value=str() as name)):
            return total, parts[0].field(name)
        case Index():
            return total, parts[0].elements
        case Conditional():
            return total, _one_of(parts[1:])
        case ListOf():
            return total, Made(len(parts), parts)
        case MapOf():
            return total, Made(len(node.keys), parts[len(node.keys) :])
        case Binary(operator="+"):
            return total, Made(parts[0].size + parts[1].size, [part.elements for part in parts])
        case Binary(operator="in"):
            return total + parts[1].size // ELEMENTS_PER_COUNT, SCALAR
        case Call(function="dyn"):
            return total, parts[0]
        case _:
            return total, SCALAR


def _count_macro(node: Macro, shapes: dict[str, Shape]) -> tuple[int, Shape]:
    before, over = _count(node.over, shapes)
    inner = {**shapes, node.variable: over.elements if over.size else SCALAR}
    body, made = _count(node.body, inner)
    if node.condition is not None:
        body += _count(node.condition, inner)[0]
    total = before + over.size * (body + weight(node.condition, node.body))
    match node.kind:
        case "map":
            return total, Made(over.size, [made])
        case "filter":
            return total, Made(over.size, [over.elements if over.size else SCALAR])
        case _:
            return total, SCALAR
