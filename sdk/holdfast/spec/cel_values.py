"""The values of expressions: plain JSON, and what CEL adds to it. Reading, comparing, and giving back as JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeGuard, cast

INT_MAX: Final = 2**63 - 1
INT_MIN: Final = -(2**63)
UINT_MAX: Final = 2**64 - 1
NANOS: Final = 1_000_000_000
EFFORT_TO_COMPARE: Final = 20


kind_of: Final = cast("Callable[[object], type[Any]]", type)
"""The exact type of a value, for what may be of any type."""


def is_map(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Whether it is a map, of whatever class."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether it is a list, of whatever class."""
    return isinstance(value, list | tuple)


class CelError(Exception):
    """An expression has no value.

    Attributes:
        message: Why, with the value at fault.
        at: The position in the text, counted from 0, once it is known.
    """

    def __init__(self, message: str, at: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def placed(error: CelError, at: int) -> CelError:
    """The error with a position, if it has none yet."""
    if error.at is None:
        error.at = at
    return error


class OverLimit(Exception):
    """An evaluation does more than it may. Unlike a `CelError`, `&&` and `||` do not swallow it."""


class UInt(int):
    """An unsigned integer, `1u`; JSON has none, so only the text of an expression makes one."""


class CelList(list[Any]):
    """A list that an expression made, unlike one that was given to it."""


class CelMap(dict[Any, Any]):
    """A map that an expression made, unlike one that was given to it. Boolean keys are `BoolKey`s."""


class BoolKey:
    """A boolean as a key: in Python `True` and `1` would be the same one."""

    def __init__(self, value: bool) -> None:
        self.value = value


TRUE_KEY: Final = BoolKey(True)
FALSE_KEY: Final = BoolKey(False)


class Type:
    """A type as a value: what `type(1)` gives and the name `int` means."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Type) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Timestamp(int):
    """A moment, in nanoseconds since 1970 UTC."""


class Duration(int):
    """A length of time in nanoseconds."""


TYPE_NAMES: Final[dict[type, str]] = {
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    CelList: "list",
    dict: "map",
    CelMap: "map",
    type(None): "null_type",
    Type: "type",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
}
LISTS: Final = (list, CelList)
MAPS: Final = (dict, CelMap)
NUMBERS: Final = frozenset((int, float, UInt))
ORDERED: Final = frozenset((bool, str, bytes, Timestamp, Duration))


class Work:
    """What one evaluation may still do, and its variables.

    Attributes:
        variables: The values by name; macros add theirs while they run.
        elements: How many elements macros have visited.
        effort: Characters joined or searched, values compared or given back, in units of at most 50 ns.
    """

    __slots__ = ("effort", "elements", "max_effort", "max_elements", "variables")

    def __init__(self, variables: dict[str, Any], max_elements: int, max_effort: int) -> None:
        self.variables = variables
        self.elements = 0
        self.effort = 0
        self.max_elements = max_elements
        self.max_effort = max_effort

    def visit(self, weight: int) -> None:
        """Count one element of a macro."""
        self.elements += weight
        if self.elements > self.max_elements:
            raise OverLimit(f"it visits more than the {self.max_elements:,} elements allowed here")

    def spend(self, effort: int) -> None:
        """Count work that grows with the size of values."""
        self.effort += effort
        if self.effort > self.max_effort:
            raise OverLimit("it joins, searches or compares more data than allowed here")


def read(value: Any) -> Any:
    """A value as it was given, checked to be one that JSON can say.

    Raises:
        CelError: It is no JSON value, or an integer beyond 64 bits.
    """
    kind = kind_of(value)
    if kind is str or kind is bool or kind is float or value is None:
        return value
    if kind is int:
        if INT_MIN <= value <= INT_MAX:
            return value
        raise CelError("an integer does not fit 64 bits; send it as a string")
    if kind in TYPE_NAMES:
        return value
    for base in (bool, int, float, str):
        if isinstance(value, base):  # enumerations and other subclasses
            return read(base(value))
    if is_map(value):
        return dict(value)
    if is_list(value):
        return list(value)
    raise CelError(f"a {kind.__name__} is no JSON value")


def type_name(value: Any) -> str:
    """The name of a value's type, as in `type(value)`."""
    kind = kind_of(value)
    return TYPE_NAMES.get(kind, kind.__name__)


def shown(value: Any) -> str:
    """A value in a message: its type and, when it is short, itself."""
    kind = kind_of(value)
    if value is None or kind is bool:
        return "null" if value is None else str(value).lower()
    if kind in (int, float, UInt):
        return f"the {type_name(value)} {value}"
    if kind is str:
        return f"the string {value!r}" if len(value) <= 60 else f"the string {value[:57]!r}..."
    if kind in LISTS or kind in MAPS:
        return f"a {type_name(value)} of {len(value)}"
    return f"a {type_name(value).rpartition('.')[2].lower()}"


def as_key(value: Any) -> Any:
    """A value as the key of a map; a double that is a whole number is that number."""
    kind = kind_of(value)
    if kind is str or kind is int or kind is UInt:
        return value
    if kind is bool:
        return TRUE_KEY if value else FALSE_KEY
    if kind is float and value.is_integer():
        return int(value)
    if kind is float:
        return value
    raise CelError(f"{shown(value)} cannot be a key")


def from_key(key: Any) -> Any:
    """The value that `as_key` made a key of."""
    return key.value if type(key) is BoolKey else read(key)


def equal(left: Any, right: Any, work: Work) -> bool:
    """Whether two values are equal: numbers across their types, anything else only within its type."""
    work.spend(EFFORT_TO_COMPARE)
    kind = kind_of(left)
    other = kind_of(right)
    if kind in NUMBERS:
        return other in NUMBERS and bool(left == right)
    if kind in LISTS:
        if other not in LISTS or len(left) != len(right):
            return False
        work.spend(len(left))
        return all(equal(read(one), read(two), work) for one, two in zip(left, right, strict=True))
    if kind in MAPS:
        if other not in MAPS or len(left) != len(right):
            return False
        work.spend(len(left))
        return all(key in right and equal(read(left[key]), read(right[key]), work) for key in left)
    if kind is str or kind is bytes:
        work.spend(len(left) >> 6)
    return kind is other and bool(left == right)


def less(left: Any, right: Any) -> bool:
    """Whether `left < right`.

    Raises:
        CelError: The two have no order.
    """
    kind, other = kind_of(left), kind_of(right)
    if (kind in NUMBERS and other in NUMBERS) or (kind is other and kind in ORDERED):
        return bool(left < right)
    raise CelError(f"{shown(left)} and {shown(right)} have no order")


def to_json(value: Any, work: Work) -> Any:
    """A result as plain JSON: times and durations as text, bytes as base64, keys as strings.

    Lists and maps that the expression did not make are given back as they are, not copied.

    Raises:
        CelError: A number has no JSON form.
    """
    return _to_json(value, work, {})[0]


def _to_json(value: Any, work: Work, known: dict[int, tuple[Any, int]]) -> tuple[Any, int]:
    """The JSON and its size. One list may stand in many places, so its size counts again where its value does not."""
    kind = kind_of(value)
    if kind is CelList or kind is CelMap:
        made = known.get(id(value))
        if made is None:
            items = value if kind is CelList else value.values()
            parts = [_to_json(read(item), work, known) for item in items]
            size = sum(part[1] for part in parts) + 2
            if kind is CelList:
                made = [part[0] for part in parts], size
            else:
                keys = [key_text(key) for key in value]
                size += sum(map(len, keys))
                made = dict(zip(keys, (part[0] for part in parts), strict=True)), size
            known[id(value)] = made
            work.spend(size)
        return made
    if kind in LISTS or kind in MAPS:
        made = known.get(id(value))
        if made is None:
            made = known[id(value)] = value, json_size(value, work.max_effort)
        return made
    if kind is float and not math.isfinite(value):
        raise CelError(f"the result holds {value}, which JSON cannot say")
    return _scalar_to_json(value, kind), len(value) if kind is str or kind is bytes else 8


def _scalar_to_json(value: Any, kind: type) -> Any:
    if kind is UInt:
        return int(value)
    if kind is bytes:
        return base64.b64encode(value).decode("ascii")
    if kind is Type:
        return value.name
    if kind is Timestamp or kind is Duration:
        from holdfast.spec.cel_time import duration_text, timestamp_text

        return timestamp_text(value) if kind is Timestamp else duration_text(value)
    return value


def key_text(key: Any) -> str:
    """A key as JSON has it."""
    value = from_key(key)
    return value if isinstance(value, str) else str(value).lower()


def json_size(value: Any, limit: int) -> int:
    """About how many bytes a value has as JSON; counting ends soon after `limit`."""
    size = 0
    todo: list[Any] = [value]
    while todo and size <= limit:
        one = todo.pop()
        if isinstance(one, str | bytes):
            size += len(one) + 2
        elif is_map(one):
            size += 2 + 4 * len(one)
            if size <= limit:
                size += sum(len(key) for key in one if isinstance(key, str))
                todo.extend(one.values())
        elif is_list(one):
            size += 2 + len(one)
            if size <= limit:
                todo.extend(one)
        else:
            size += 4
    return size
