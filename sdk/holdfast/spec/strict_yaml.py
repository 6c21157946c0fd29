"""YAML 1.2 with the core schema, without what only surprises: anchors, tags, merge keys, duplicate keys, documents in a
row. `on`, `yes` and `no` are strings; keys are strings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from holdfast.errors import InvalidInput
from holdfast.spec.plain import MAX_DEPTH, problem
from holdfast.spec.source import Path, Place, refusal
from holdfast.spec.strict_json import decode_text

MAX_YAML_BYTES: Final = 1024 * 1024
"""No YAML document is larger: 1 MiB. JSON may be."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def resolve(text: str) -> Any:
    """The value of an unquoted scalar by the core schema.

    Raises:
        ValueError: It is a number that a document may not hold.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > 24:
            raise ValueError("a whole number lies between -2^63 and 2^63-1; write larger ones as strings")
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that JSON knows; quote it if it is text")
    return text


def parse_yaml(data: str | bytes, *, max_bytes: int = MAX_YAML_BYTES) -> Any:
    """The value of a YAML text.

    Raises:
        InvalidInput: It is not YAML, uses what is refused, or is too deep or too large; with `line` and `column`.
    """
    return _Reader(decode_text(data, max_bytes)).read()


def yaml_places(text: str) -> dict[Path, Place]:
    """Where each key, or each item of a list, stands in a YAML text that `parse_yaml` accepts."""
    reader = _Reader(text, with_places=True)
    reader.read()
    return reader.places


def _indentation(text: str, line: int) -> str:
    """What stands before the first word of a line, counted from 0."""
    found = "".join(text.split("\n")[line : line + 1])  # the end of the text is a line of its own
    return found[: len(found) - len(found.lstrip(" \t"))]


class _Reader:
    def __init__(self, text: str, *, with_places: bool = False) -> None:
        self._events = self._read_events(text)
        self._with_places = with_places
        self.places: dict[Path, Place] = {}

    def _read_events(self, text: str) -> Iterator[Any]:
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            reason = ", ".join(part for part in (error.context, error.problem) if part)
            if mark is not None and "\t" in _indentation(text, mark.line):
                reason = "a tab in the indentation; YAML is indented with spaces"
            raise refusal(f"not YAML: {reason}", (mark.line + 1, mark.column + 1) if mark else None) from None
        except yaml.YAMLError as error:
            raise refusal(f"not YAML: {' '.join(str(error).split())}") from None

    def read(self) -> Any:
        value, count = None, 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count > 1:
                    raise self._refuse(event, "a second document begins; send one at a time")
                if event.tags or event.version not in (None, (1, 2)):
                    raise self._refuse(event, "directives other than %YAML 1.2 are not read")
            elif isinstance(event, yaml.NodeEvent):
                value = self._value(event, ())
        if not count:
            raise refusal("the document is empty")
        return value

    def _value(self, event: Any, path: Path) -> Any:
        if self._with_places:
            self.places.setdefault(path, (event.start_mark.line + 1, event.start_mark.column + 1))
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._refuse(event, "anchors and aliases are not read; write the value where it is used")
        if event.tag is not None:
            raise self._refuse(event, f"the tag {event.tag!r} is not read; values have the types of JSON")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if len(path) >= MAX_DEPTH:
            raise self._refuse(event, f"lists and objects are nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._object(path)

    def _scalar(self, event: Any) -> Any:
        try:
            value = resolve(event.value) if event.implicit[0] else event.value
        except ValueError as error:
            raise self._refuse(event, str(error)) from None
        if reason := problem(value):
            raise self._refuse(event, reason)
        return value

    def _list(self, path: Path) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*path, len(found))))
        return found

    def _object(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refuse(event, "a key is a string")
            key = self._value(event, (*path, event.value))
            if not isinstance(key, str):
                raise self._refuse(event, f"the key {event.value or key!r} is not a string; quote it")
            if key == "<<" and event.implicit[0]:
                raise self._refuse(event, "merge keys are not read; write the values out")
            if key in found:
                raise self._refuse(event, f"the key {key!r} is here twice")
            found[key] = self._value(next(self._events), (*path, key))
        return found

    def _refuse(self, event: Any, message: str) -> InvalidInput:
        return refusal(message, (event.start_mark.line + 1, event.start_mark.column + 1))


class _Dumper(yaml.SafeDumper):
    """Writes what `parse_yaml` reads back, and what a YAML 1.1 reader takes for the same."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(dumper: Any, text: str) -> Any:
    try:
        plain = resolve(text) is text
    except ValueError:
        plain = False
    odd = not text.isascii() and any(char in text for char in "\x85\u2028\u2029\ufeff")
    style = "|" if "\n" in text and not odd else None if plain and not odd else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _write_text)


def write_yaml(value: Any) -> str:
    """The YAML text of a JSON value; keys keep their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
