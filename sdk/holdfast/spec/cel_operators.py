"""The operators. Arithmetic with an int and a double is done in doubles: JSON hardly tells `2` from `2.0` either."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from holdfast.spec.cel_time import duration, timestamp
from holdfast.spec.cel_values import (
    INT_MAX,
    INT_MIN,
    LISTS,
    MAPS,
    UINT_MAX,
    CelError,
    CelList,
    Duration,
    Timestamp,
    UInt,
    Work,
    as_key,
    equal,
    kind_of,
    less,
    read,
    shown,
)

SIGNED: Final = (int, float)


def _mixed(operator: str, left: Any, right: Any) -> CelError:
    kinds = {kind_of(left), kind_of(right)}
    hint = "; convert one with int(), uint() or double()" if UInt in kinds and kinds & {int, float} else ""
    if str in kinds and operator == "+":
        hint = "; convert the other one with string()"
    return CelError(f"{operator!r} does not take {shown(left)} and {shown(right)}{hint}")


def _whole(number: int, operator: str, left: Any, right: Any) -> int:
    if INT_MIN <= number <= INT_MAX:
        return number
    raise CelError(f"{left} {operator} {right} overflows an int of 64 bits; make one a double")


def _unsigned(number: int, operator: str, left: Any, right: Any) -> UInt:
    if 0 <= number <= UINT_MAX:
        return UInt(number)
    raise CelError(f"{int(left)}u {operator} {int(right)}u overflows a uint of 64 bits")


def add(left: Any, right: Any, work: Work) -> Any:
    """The sum; strings, bytes and lists are joined."""
    kind = kind_of(left)
    other = kind_of(right)
    if kind is int and other is int:
        return _whole(left + right, "+", left, right)
    if kind in SIGNED and other in SIGNED:
        return left + right
    if kind is other and kind in (str, bytes):
        work.spend(len(left) + len(right))
        return left + right
    if kind in LISTS and other in LISTS:
        work.spend(len(left) + len(right))
        return CelList([*left, *right])
    if kind is UInt and other is UInt:
        return _unsigned(int(left) + int(right), "+", left, right)
    if kind is Duration and other is Duration:
        return duration(int(left) + int(right))
    if {kind, other} == {Timestamp, Duration}:
        return timestamp(int(left) + int(right))
    raise _mixed("+", left, right)


def subtract(left: Any, right: Any, work: Work) -> Any:
    """The difference."""
    kind = kind_of(left)
    other = kind_of(right)
    if kind is int and other is int:
        return _whole(left - right, "-", left, right)
    if kind in SIGNED and other in SIGNED:
        return left - right
    if kind is UInt and other is UInt:
        return _unsigned(int(left) - int(right), "-", left, right)
    if kind is other and kind in (Duration, Timestamp):
        return duration(int(left) - int(right))
    if kind is Timestamp and other is Duration:
        return timestamp(int(left) - int(right))
    raise _mixed("-", left, right)


def multiply(left: Any, right: Any, work: Work) -> Any:
    """The product."""
    kind = kind_of(left)
    other = kind_of(right)
    if kind is int and other is int:
        return _whole(left * right, "*", left, right)
    if kind in SIGNED and other in SIGNED:
        return left * right
    if kind is UInt and other is UInt:
        return _unsigned(int(left) * int(right), "*", left, right)
    raise _mixed("*", left, right)


def divide(left: Any, right: Any, work: Work) -> Any:
    """The quotient; of two integers without its fraction, towards zero."""
    kind = kind_of(left)
    other = kind_of(right)
    if kind is other and kind in (int, UInt):
        if right == 0:
            raise CelError(f"{int(left)} / 0 divides by zero")
        quotient = abs(int(left)) // abs(int(right))
        if kind is UInt:
            return UInt(quotient)
        return _whole(quotient if (left < 0) == (right < 0) else -quotient, "/", left, right)
    if kind in SIGNED and other in SIGNED:
        if right != 0:
            return left / right
        if left == 0 or left != left:
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    raise _mixed("/", left, right)


def remainder(left: Any, right: Any, work: Work) -> Any:
    """What the division of two integers leaves; it has the sign of the dividend."""
    kind = kind_of(left)
    if kind is kind_of(right) and kind in (int, UInt):
        if right == 0:
            raise CelError(f"{int(left)} % 0 divides by zero")
        rest = abs(int(left)) % abs(int(right))
        return UInt(rest) if kind is UInt else (-rest if left < 0 else rest)
    if kind in SIGNED and kind_of(right) in SIGNED:
        raise CelError(f"% is for integers, not for {shown(left)} and {shown(right)}; convert with int()")
    raise _mixed("%", left, right)


def negative(value: Any) -> Any:
    """The number with the other sign."""
    kind = kind_of(value)
    if kind is int:
        return _whole(-value, "*", value, -1)
    if kind is float:
        return -value
    if kind is Duration:
        return duration(-int(value))
    raise CelError(f"'-' does not take {shown(value)}")


def negated(value: Any) -> bool:
    """The other boolean."""
    if kind_of(value) is bool:
        return not value
    raise CelError(f"'!' takes a boolean, not {shown(value)}")


def within(value: Any, holder: Any, work: Work) -> bool:
    """Whether a list holds the value, or a map the key."""
    if kind_of(holder) in MAPS:
        return bool(as_key(value) in holder)
    if kind_of(holder) in LISTS:
        work.spend(len(holder))
        if kind_of(value) is str:
            return bool(value in holder)
        return any(equal(value, read(element), work) for element in holder)
    raise CelError(f"'in' looks into lists and maps, not into {shown(holder)}")


BINARY: Final[dict[str, Callable[[Any, Any, Work], Any]]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": remainder,
    "in": within,
    "==": lambda left, right, work: equal(left, right, work),
    "!=": lambda left, right, work: not equal(left, right, work),
    "<": lambda left, right, work: less(left, right),
    "<=": lambda left, right, work: less(left, right) or equal(left, right, work),
    ">": lambda left, right, work: less(right, left),
    ">=": lambda left, right, work: less(right, left) or equal(left, right, work),
}
"""What each operator does."""
