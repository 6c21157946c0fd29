"""The syntax tree of an expression. Every node knows its position in the text, counted from 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Node:
    """What an expression consists of."""

    at: int


@dataclass(slots=True)
class Literal(Node):
    """A constant."""

    value: object


@dataclass(slots=True)
class Name(Node):
    """A variable, a macro's variable or a type."""

    name: str


@dataclass(slots=True)
class Select(Node):
    """`operand.field`, or `has(operand.field)` when `test` is set."""

    operand: Node
    field: str
    test: bool = False


@dataclass(slots=True)
class Index(Node):
    """`operand[index]`."""

    operand: Node
    index: Node


@dataclass(slots=True)
class Call(Node):
    """`function(arguments)`; a method's target is the first argument."""

    function: str
    arguments: list[Node]
    method: bool


@dataclass(slots=True)
class Unary(Node):
    """`!operand` or `-operand`."""

    operator: str
    operand: Node


@dataclass(slots=True)
class Binary(Node):
    """An arithmetic or a comparing operator, or `in`."""

    operator: str
    left: Node
    right: Node


@dataclass(slots=True)
class Logic(Node):
    """A whole chain of `&&` or of `||`; one in brackets is closed and takes no further operands."""

    operator: str
    operands: list[Node]
    closed: bool = False


@dataclass(slots=True)
class Conditional(Node):
    """`condition ? yes : no`."""

    condition: Node
    yes: Node
    no: Node


@dataclass(slots=True)
class ListOf(Node):
    """`[a, b]`."""

    items: list[Node]


@dataclass(slots=True)
class MapOf(Node):
    """`{key: value}`."""

    keys: list[Node]
    values: list[Node]


@dataclass(slots=True)
class Macro(Node):
    """`over.kind(variable, condition, body)`.

    `kind` is one of `all`, `exists`, `exists_one`, `filter` and `map`; only a `map` of three arguments has a condition.
    """

    kind: str
    over: Node
    variable: str
    condition: Node | None
    body: Node


def children(node: Node) -> Sequence[Node]:
    """The nodes directly below, in the order of the text; a macro's range comes first."""
    match node:
        case Select():
            return (node.operand,)
        case Index():
            return (node.operand, node.index)
        case Call():
            return node.arguments
        case Unary():
            return (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Logic():
            return node.operands
        case Conditional():
            return (node.condition, node.yes, node.no)
        case ListOf():
            return node.items
        case MapOf():
            return [*node.keys, *node.values]
        case Macro():
            return (
                (node.over, node.body) if node.condition is None else (node.over, node.condition, node.body)
            )
        case _:
            return ()
