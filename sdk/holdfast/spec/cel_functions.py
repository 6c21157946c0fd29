"""The functions of CEL's standard definitions, except the macros."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from holdfast.spec.cel_time import (
    duration_field,
    duration_text,
    field,
    parse_duration,
    parse_timestamp,
    timestamp,
    timestamp_text,
)
from holdfast.spec.cel_values import (
    INT_MAX,
    INT_MIN,
    LISTS,
    MAPS,
    NANOS,
    UINT_MAX,
    CelError,
    Duration,
    Timestamp,
    Type,
    UInt,
    Work,
    kind_of,
    shown,
    type_name,
)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language.

    Attributes:
        run: Takes the arguments; the work it does is counted in the first one.
        fewest: The number of arguments, a method's target included.
        most: The same with the optional ones.
        plain: Whether `f(x)` is allowed.
        method: Whether `x.f()` is allowed.
    """

    run: Callable[..., Any]
    fewest: int = 1
    most: int = 1
    plain: bool = True
    method: bool = False


def _not(value: Any, wanted: str) -> CelError:
    return CelError(f"{shown(value)} cannot be {wanted}")


SIZED: Final = (str, bytes, *LISTS, *MAPS)


def size(work: Work, value: Any) -> int:
    """The characters of a string, bytes of bytes, elements of a list or entries of a map."""
    if kind_of(value) in SIZED:
        return len(value)
    raise CelError(f"{shown(value)} has no size")


INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
DOUBLE: Final = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE
)
TRUE: Final = frozenset({"true", "True", "TRUE", "t", "1"})
FALSE: Final = frozenset({"false", "False", "FALSE", "f", "0"})


def to_int(work: Work, value: Any) -> int:
    """An integer: of a double without its fraction, of a timestamp its seconds since 1970."""
    match value:
        case Timestamp():
            return int(value) // NANOS
        case bool() | Duration():
            raise _not(value, "an int")
        case int():
            number = int(value)
        case float() if -(2.0**63) < value < 2.0**63:
            number = int(value)
        case str() if INTEGER.fullmatch(value):
            number = int(value)
        case float():
            raise CelError(f"{shown(value)} does not fit an int of 64 bits")
        case _:
            raise _not(value, "an int")
    if INT_MIN <= number <= INT_MAX:
        return number
    raise CelError(f"{shown(value)} does not fit an int of 64 bits")


def to_uint(work: Work, value: Any) -> UInt:
    """An unsigned integer."""
    match value:
        case bool() | Timestamp() | Duration():
            raise _not(value, "a uint")
        case int():
            number = int(value)
        case float() if -1 < value < 2.0**64:
            number = int(value)
        case str() if INTEGER.fullmatch(value):
            number = int(value)
        case float():
            raise CelError(f"{shown(value)} does not fit a uint of 64 bits")
        case _:
            raise _not(value, "a uint")
    if 0 <= number <= UINT_MAX:
        return UInt(number)
    raise CelError(f"{shown(value)} does not fit a uint of 64 bits")


def to_double(work: Work, value: Any) -> float:
    """A double."""
    match value:
        case bool() | Timestamp() | Duration():
            raise _not(value, "a double")
        case int() | float():
            return float(value)
        case str() if DOUBLE.fullmatch(value):
            return float(value)
        case _:
            raise _not(value, "a double")


def to_string(work: Work, value: Any) -> str:
    """A text: numbers as written, times as RFC 3339, durations in seconds, bytes as UTF-8."""
    match value:
        case bool():
            return "true" if value else "false"
        case Timestamp():
            return timestamp_text(value)
        case Duration():
            return duration_text(value)
        case int():
            return str(int(value))
        case float():
            return double_text(value)
        case str():
            return value
        case bytes():
            work.spend(len(value) >> 4)
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                raise CelError("the bytes are invalid UTF-8") from None
        case _:
            raise _not(value, "a string")


def double_text(value: float) -> str:
    """The shortest text that gives the same double again; a whole number has no `.0`."""
    text = repr(value)
    return text[:-2] if text.endswith(".0") else text


def to_bytes(work: Work, value: Any) -> bytes:
    """The UTF-8 of a string."""
    match value:
        case bytes():
            return value
        case str():
            work.spend(len(value) >> 4)
            return _utf8(value)
        case _:
            raise _not(value, "bytes")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise CelError("the string has half of a character pair") from None


def to_bool(work: Work, value: Any) -> bool:
    """A boolean, also of strings such as `true`, `f` and `1`."""
    if type(value) is bool:
        return value
    if type(value) is str and value in TRUE | FALSE:
        return value in TRUE
    raise _not(value, "a bool")


def to_timestamp(work: Work, value: Any) -> Timestamp:
    """A moment from RFC 3339 or from seconds since 1970."""
    match value:
        case Timestamp():
            return value
        case str():
            return parse_timestamp(value)
        case bool() | UInt() | Duration():
            raise _not(value, "a timestamp")
        case int():
            return timestamp(value * NANOS)
        case _:
            raise _not(value, "a timestamp")


def to_duration(work: Work, value: Any) -> Duration:
    """A duration from a text such as `1h30m`."""
    match value:
        case Duration():
            return value
        case str():
            return parse_duration(value)
        case _:
            raise _not(value, "a duration")


def to_type(work: Work, value: Any) -> Type:
    """The type of a value."""
    return Type(type_name(value))


def same(work: Work, value: Any) -> Any:
    """The value itself."""
    return value


def _texts(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        if type(value) is not str:
            raise CelError(f"{name}() takes strings, not {shown(value)}")


def contains(work: Work, text: Any, part: Any) -> bool:
    """Whether a string is part of another one."""
    _texts("contains", (text, part))
    work.spend(len(text) >> 4)
    return bool(part in text)


def starts_with(work: Work, text: Any, part: Any) -> bool:
    """Whether a string starts with another one."""
    _texts("startsWith", (text, part))
    return bool(text.startswith(part))


def ends_with(work: Work, text: Any, part: Any) -> bool:
    """Whether a string ends with another one."""
    _texts("endsWith", (text, part))
    return bool(text.endswith(part))


MAX_PATTERN_CHARS: Final = 1000
"""The longest regular expression: compiling takes far longer than matching."""


def matches(work: Work, text: Any, pattern: Any) -> bool:
    """Whether a regular expression is found in a string, in time linear in its length."""
    _texts("matches", (text, pattern))
    found = _pattern(pattern)
    work.spend(len(text))
    _utf8(text)
    return bool(found(text))


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> Callable[[str], bool]:
    """A search that cannot blow up: pydantic brings Rust's regex, which has neither look-around nor backtracking."""
    from pydantic_core import SchemaError, SchemaValidator
    from pydantic_core.core_schema import str_schema

    if len(pattern) > MAX_PATTERN_CHARS:
        raise CelError(f"the regular expression has more than {MAX_PATTERN_CHARS:,} characters")
    _utf8(pattern)
    try:
        schema = str_schema(pattern=pattern, regex_engine="rust-regex", strict=True)
        return SchemaValidator(schema).isinstance_python
    except SchemaError as error:
        reason = (
            str(error).strip().splitlines()[-1].strip().removeprefix("error: ").removeprefix("SchemaError: ")
        )
        raise CelError(f"{pattern[:60]!r} is no regular expression: {reason}") from None


def _part(name: str) -> Callable[..., int]:
    def run(work: Work, value: Any, zone: Any = "UTC") -> int:
        if type(zone) is not str:
            raise CelError(f"{name}() takes a time zone such as '+02:00', not {shown(zone)}")
        if type(value) is Timestamp:
            return field(value, name, zone)
        if type(value) is Duration and name in ("getHours", "getMinutes", "getSeconds", "getMilliseconds"):
            return duration_field(value, name)
        raise CelError(f"{name}() is for timestamps, not for {shown(value)}")

    return run


PARTS: Final = (
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
)

FUNCTIONS: Final[dict[str, Function]] = {
    "size": Function(size, method=True),
    "int": Function(to_int),
    "uint": Function(to_uint),
    "double": Function(to_double),
    "string": Function(to_string),
    "bytes": Function(to_bytes),
    "bool": Function(to_bool),
    "timestamp": Function(to_timestamp),
    "duration": Function(to_duration),
    "type": Function(to_type),
    "dyn": Function(same),
    "contains": Function(contains, 2, 2, plain=False, method=True),
    "startsWith": Function(starts_with, 2, 2, plain=False, method=True),
    "endsWith": Function(ends_with, 2, 2, plain=False, method=True),
    "matches": Function(matches, 2, 2, method=True),
    **{name: Function(_part(name), 1, 2, plain=False, method=True) for name in PARTS},
}
"""Every function by its name."""
