"""Splits the text of an expression into tokens: numbers, strings, names and punctuation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from holdfast.spec.cel_values import INT_MAX, UINT_MAX, UInt


class CelSyntaxError(Exception):
    """The text is no expression.

    Attributes:
        message: What is wrong.
        at: The position, counted from 0.
    """

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class Kind(Enum):
    """What a token is."""

    NAME = "name"
    QUOTED_NAME = "quoted name"
    VALUE = "value"
    SIGN = "sign"
    END = "end"


@dataclass(slots=True)
class Token:
    """A piece of the text; `value` is set for numbers and strings."""

    kind: Kind
    text: str
    at: int
    end: int
    value: object = None


TOKEN: Final = re.compile(
    r"""
    (?:[ \t\r\n\f]++|//[^\n]*+)*+
    (?:
      (?P<string>(?:[bB][rR]?|[rR][bB]?)?(?:\"{3}|'{3}|"|'))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<double>[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
    | (?P<int>0[xX][0-9a-fA-F]+[uU]?|[0-9]+[uU]?)
    | (?P<quoted>`[A-Za-z0-9_.\-/ ]+`)
    | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    | (?P<end>\Z)
    | (?P<other>.)
    )
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)

ESCAPES: Final = dict(zip("abfnrtv\\?\"'`", "\a\b\f\n\r\t\v\\?\"'`", strict=True))
ESCAPE: Final = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\?\"'`])|[xX](?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})"
    r"|U(?P<U>[0-9a-fA-F]{8})|(?P<o>[0-3][0-7]{2}))"
)
MAX_SURROGATE: Final = 0xDFFF
MIN_SURROGATE: Final = 0xD800
MAX_CODE_POINT: Final = 0x10FFFF


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """The tokens from `start` on, and at last one of kind END.

    Raises:
        CelSyntaxError: While iterating, at a character that starts no token or a string without an end.
    """
    position, match = start, TOKEN.match
    while (found := match(text, position)) is not None:
        group, position = found.lastgroup or "", found.end()
        at = found.start(group)
        if group == "name":
            yield Token(Kind.NAME, found[group], at, position)
        elif group == "sign":
            yield Token(Kind.SIGN, found[group], at, position)
        elif group == "string":
            position, value = _string(text, at, found[group])
            yield Token(Kind.VALUE, text[at:position], at, position, value)
        elif group == "quoted":
            yield Token(Kind.QUOTED_NAME, found[group][1:-1], at, position)
        elif group == "end":
            break
        elif group == "other":
            raise CelSyntaxError(f"unexpected character {found[group]!r}", at)
        else:
            yield Token(Kind.VALUE, found[group], at, position, _number(found[group], group, at))
            if position < len(text) and (text[position].isalnum() or text[position] == "_"):
                raise CelSyntaxError(f"a number is followed by {text[position]!r}", position)
    yield Token(Kind.END, "", len(text), len(text))


def _number(text: str, group: str, at: int) -> object:
    if group == "double":
        value = float(text)
        if value == float("inf"):
            raise CelSyntaxError(f"{_short(text)} is too large for a double", at)
        return value
    unsigned = text[-1] in "uU"
    digits = text[:-1] if unsigned else text
    # Python refuses to convert very long digit strings, and no 64-bit number needs as many.
    short = digits.lstrip("0xX")
    number = int(digits, 16 if digits[:2] in ("0x", "0X") else 10) if len(short) <= 20 else UINT_MAX + 1
    # One more than the largest integer is allowed here because it may stand behind a minus; the parser looks.
    if number > (UINT_MAX if unsigned else INT_MAX + 1):
        raise CelSyntaxError(f"{_short(text)} does not fit 64 bits", at)
    return UInt(number) if unsigned else number


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _string(text: str, at: int, opening: str) -> tuple[int, object]:
    """The end of the string literal that starts at `at`, and its value."""
    prefix = opening.rstrip("\"'").lower()
    quote = opening[len(prefix) :]
    raw, is_bytes = "r" in prefix, "b" in prefix
    start = position = at + len(opening)
    while True:
        position = _next(text, position, quote)
        if position < 0:
            raise CelSyntaxError(f"the string has no closing {quote}", at)
        if text[position] == "\\":
            position += 2
        elif text[position] in "\r\n":
            raise CelSyntaxError(f"the string has no closing {quote} on its line", at)
        else:
            break
    body, end = text[start:position], position + len(quote)
    if len(quote) == 3:
        body = body.replace("\r\n", "\n").replace("\r", "\n")
    if is_bytes:
        return end, body.encode("utf-8") if raw else _unescaped_bytes(body, start)
    return end, body if raw else _unescaped(body, start)


_STOPS: Final = {
    '"': re.compile(r'["\\\r\n]'),
    "'": re.compile(r"['\\\r\n]"),
    '"""': re.compile(r'"""|\\'),
    "'''": re.compile(r"'''|\\"),
}


def _next(text: str, position: int, quote: str) -> int:
    found = _STOPS[quote].search(text, position)
    return -1 if found is None else found.start()


def _pieces(body: str, start: int) -> Iterator[tuple[str, int | None]]:
    """Plain text, and code points of escapes with the kind of the escape."""
    position = 0
    while (slash := body.find("\\", position)) >= 0:
        if slash > position:
            yield body[position:slash], None
        found = ESCAPE.match(body, slash)
        if found is None:
            raise CelSyntaxError(f"{body[slash : slash + 2]!r} is no escape", start + slash)
        kind = found.lastgroup or ""
        digits = found.group(kind)
        if kind == "simple":
            yield ESCAPES[digits], None
        else:
            code = int(digits, 8 if kind == "o" else 16)
            if code > MAX_CODE_POINT or MIN_SURROGATE <= code <= MAX_SURROGATE:
                raise CelSyntaxError(f"{found.group()!r} is no character", start + slash)
            yield kind, code
        position = found.end()
    if position < len(body):
        yield body[position:], None


def _unescaped(body: str, start: int) -> str:
    return "".join(text if code is None else chr(code) for text, code in _pieces(body, start))


def _unescaped_bytes(body: str, start: int) -> bytes:
    made = bytearray()
    for text, code in _pieces(body, start):
        if code is None:
            made += text.encode("utf-8", "surrogatepass")
        elif text in ("u", "U"):
            raise CelSyntaxError("bytes take \\x and octal escapes only", start)
        else:
            made.append(code)
    return bytes(made)
