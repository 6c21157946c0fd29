"""Turns the tree of an expression into nested Python closures, which evaluate it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from holdfast.spec.cel_ast import (
    Binary,
    Call,
    Conditional,
    Index,
    ListOf,
    Literal,
    Logic,
    Macro,
    MapOf,
    Name,
    Node,
    Select,
    Unary,
)
from holdfast.spec.cel_functions import FUNCTIONS
from holdfast.spec.cel_macros import MACROS, Loop, Run
from holdfast.spec.cel_operators import BINARY, negated, negative
from holdfast.spec.cel_values import (
    LISTS,
    MAPS,
    CelError,
    CelList,
    CelMap,
    Type,
    Work,
    as_key,
    from_key,
    kind_of,
    placed,
    read,
    shown,
)

TYPES: Final = {
    name: Type(name)
    for name in ("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint")
}
"""The types that a name in an expression means; timestamps and durations have longer names."""


def build(node: Node) -> Run:
    """The function that evaluates a tree.

    What it raises: `CelError` with a position, and `OverLimit`.
    """
    return _build(node, frozenset())


def _build(node: Node, bound: frozenset[str]) -> Run:
    match node:
        case Literal():
            return _constant(node.value)
        case Name():
            known = None if node.name in bound else TYPES.get(node.name)
            return _variable(node.name) if known is None else _constant(known)
        case Select():
            run = _has if node.test else _select
            return run(_build(node.operand, bound), node.field, node.at)
        case Index():
            return _index(_build(node.operand, bound), _build(node.index, bound), node.at)
        case Call():
            return _call(node.function, [_build(argument, bound) for argument in node.arguments], node.at)
        case Unary():
            return _unary(node.operator, _build(node.operand, bound), node.at)
        case Binary():
            return _binary(
                BINARY[node.operator], _build(node.left, bound), _build(node.right, bound), node.at
            )
        case Logic():
            return _logic(node.operator, [_build(one, bound) for one in node.operands], node.at)
        case Conditional():
            return _conditional(
                _build(node.condition, bound), _build(node.yes, bound), _build(node.no, bound), node.at
            )
        case ListOf():
            return _list([_build(item, bound) for item in node.items])
        case MapOf():
            entries = [
                (_build(key, bound), _build(value, bound), key.at)
                for key, value in zip(node.keys, node.values, strict=True)
            ]
            return _map(entries)
        case Macro():
            inner = bound | {node.variable}
            condition = None if node.condition is None else _build(node.condition, inner)
            return MACROS[node.kind](
                Loop(_build(node.over, bound), node), condition, _build(node.body, inner)
            )
        case _:
            raise AssertionError(f"no such node: {node}")


def _constant(value: Any) -> Run:
    return lambda work: value


def _variable(name: str) -> Run:
    return lambda work: work.variables[name]


def _select(operand: Run, field: str, at: int) -> Run:
    def run(work: Work) -> Any:
        value = operand(work)
        try:
            if kind_of(value) in MAPS:
                if field in value:
                    return read(value[field])
                raise CelError(_no_field(field, value))
            raise CelError(f"{shown(value)} has no fields, so no {field!r}")
        except CelError as error:
            raise placed(error, at) from None

    return run


def _has(operand: Run, field: str, at: int) -> Run:
    def run(work: Work) -> bool:
        value = operand(work)
        if kind_of(value) in MAPS:
            return bool(field in value)
        if value is None:  # the output of a skipped node
            return False
        raise CelError(f"{shown(value)} has no fields, so has() cannot look for {field!r}", at)

    return run


def _index(operand: Run, index: Run, at: int) -> Run:
    def run(work: Work) -> Any:
        value, key = operand(work), index(work)
        try:
            if kind_of(value) in MAPS:
                key = as_key(key)
                if key in value:
                    return read(value[key])
                raise CelError(_no_field(from_key(key), value))
            if kind_of(value) in LISTS:
                return read(value[_position(key, len(value))])
            raise CelError(f"{shown(value)} has no elements")
        except CelError as error:
            raise placed(error, at) from None

    return run


def _position(key: Any, length: int) -> int:
    number = as_key(key) if kind_of(key) is float else key
    if type(number) is bool or not isinstance(number, int):
        raise CelError(f"{shown(key)} is no position in a list")
    if 0 <= number < length:
        return int(number)
    raise CelError(f"the list has {length} elements, so none at {int(number)}")


def _no_field(field: Any, value: dict[Any, Any]) -> str:
    from difflib import get_close_matches

    names = [key for key in list(value)[:1000] if isinstance(key, str)]
    near = get_close_matches(field[:100], names, 1) if isinstance(field, str) else []
    if near:
        return f"there is no field {field!r}; did you mean {near[0]!r}?"
    listed = ", ".join(sorted(names)[:10]) + (", ..." if len(value) > 10 else "")
    return f"there is no field {field!r}; there is {listed}" if names else f"there is no field {field!r}"


def _call(name: str, arguments: list[Run], at: int) -> Run:
    function = FUNCTIONS[name].run

    def run(work: Work) -> Any:
        values = [argument(work) for argument in arguments]
        try:
            return function(work, *values)
        except CelError as error:
            raise placed(error, at) from None

    return run


def _unary(operator: str, operand: Run, at: int) -> Run:
    function = negated if operator == "!" else negative

    def run(work: Work) -> Any:
        value = operand(work)
        try:
            return function(value)
        except CelError as error:
            raise placed(error, at) from None

    return run


def _binary(function: Callable[[Any, Any, Work], Any], left: Run, right: Run, at: int) -> Run:
    def run(work: Work) -> Any:
        one, two = left(work), right(work)
        try:
            return function(one, two, work)
        except CelError as error:
            raise placed(error, at) from None

    return run


def _logic(operator: str, operands: list[Run], at: int) -> Run:
    """`&&` and `||` in either order: what decides wins over an error beside it."""
    decisive = operator == "||"

    def run(work: Work) -> Any:
        first: CelError | None = None
        for operand in operands:
            try:
                value = operand(work)
                if value is decisive:
                    return decisive
                if kind_of(value) is not bool:
                    raise CelError(f"{operator} takes booleans, not {shown(value)}", at)
            except CelError as error:
                first = first or error
        if first is not None:
            raise first
        return not decisive

    return run


def _conditional(condition: Run, yes: Run, no: Run, at: int) -> Run:
    def run(work: Work) -> Any:
        value = condition(work)
        if value is True:
            return yes(work)
        if value is False:
            return no(work)
        raise CelError(f"the condition before '?' is {shown(value)}, not a boolean", at)

    return run


def _list(items: list[Run]) -> Run:
    return lambda work: CelList([item(work) for item in items])


def _map(entries: list[tuple[Run, Run, int]]) -> Run:
    def run(work: Work) -> CelMap:
        made = CelMap()
        for key_of, value_of, at in entries:
            key = key_of(work)
            if kind_of(key) is float:
                raise CelError(f"{shown(key)} cannot be a key", at)
            try:
                key = as_key(key)
            except CelError as error:
                raise placed(error, at) from None
            if key in made:
                raise CelError(f"the key {from_key(key)!r} stands there twice", at)
            made[key] = value_of(work)
        return made

    return run
