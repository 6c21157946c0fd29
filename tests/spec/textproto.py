"""Reads the text format of protocol buffers, as far as the conformance cases of CEL use it."""

from __future__ import annotations

import re
from typing import Any

TOKEN = re.compile(
    r"""
      (?P<skip>(?:[ \t\r\n,;]+|\#[^\n]*)+)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<name>[A-Za-z_][A-Za-z0-9_.]*|-inf\b|-nan\b)
    | (?P<number>-?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))
    | (?P<type>\[[A-Za-z0-9_./ ]+\])
    | (?P<sign>[{}<>:\[\]])
    """,
    re.VERBOSE,
)
ESCAPE = re.compile(rb"\\(?:([abfnrtv\\?\"'`])|[xX]([0-9a-fA-F]{1,2})|u(\w{4})|U(\w{8})|([0-7]{1,3}))")
SIMPLE = dict(zip(b"abfnrtv\\?\"'`", b"\a\b\f\n\r\t\v\\?\"'`", strict=True))


class Text(bytes):
    """A string field, which may also be bytes."""


def _unescape(found: re.Match[bytes]) -> bytes:
    simple, hexadecimal, short, long, octal = found.groups()
    if simple:
        return bytes([SIMPLE[simple[0]]])
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    if octal:
        return bytes([int(octal, 8)])
    return chr(int(short or long, 16)).encode()


def parse(text: str) -> dict[str, list[Any]]:
    """A message: every field with all its values, in order."""
    tokens = [
        (found.lastgroup or "", found.group()) for found in TOKEN.finditer(text) if found.lastgroup != "skip"
    ]
    tokens.append(("end", ""))
    message, position = _message(tokens, 0, "")
    assert position == len(tokens) - 1, tokens[position]
    return message


def _message(tokens: list[tuple[str, str]], position: int, end: str) -> tuple[dict[str, list[Any]], int]:
    message: dict[str, list[Any]] = {}
    while tokens[position][1] != end:
        name = tokens[position][1]
        position += 1
        if tokens[position][1] == ":":
            position += 1
        if tokens[position][1] == "[":
            position += 1
            while tokens[position][1] != "]":
                value, position = _value(tokens, position)
                message.setdefault(name, []).append(value)
            position += 1
        else:
            value, position = _value(tokens, position)
            message.setdefault(name, []).append(value)
    return message, position


def _value(tokens: list[tuple[str, str]], position: int) -> tuple[Any, int]:
    kind, text = tokens[position]
    position += 1
    if text in ("{", "<"):
        message, position = _message(tokens, position, "}" if text == "{" else ">")
        return message, position + 1
    if kind == "string":
        made = b""
        while kind == "string":
            made += ESCAPE.sub(_unescape, text[1:-1].encode())
            kind, text = tokens[position]
            position += 1
        return Text(made), position - 1
    if kind == "number":
        return (
            int(text, 0) if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|0|[1-9][0-9]*)", text) else float(text)
        ), position
    return text, position
