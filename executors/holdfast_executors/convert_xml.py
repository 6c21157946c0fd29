"""XML to values and back. Documents that declare types or entities are refused, and so no bomb is made of them.

An element is its text; with attributes or elements inside it is an object: `@name` for an attribute, the elements by
their names, a list where there are several of one name, and `#text`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final, NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from pydantic import JsonValue

from holdfast import InvalidInput
from holdfast.spec.plain import json_kind

MAX_DEPTH: Final = 64
"""The deepest nesting, as in other documents."""

_NAME: Final = re.compile(r"(?!\d)\w[\w.-]*(:(?!\d)\w[\w.-]*)?")
_NO_CHARACTER: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Element:
    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.members: dict[str, JsonValue] = {f"@{key}": value for key, value in attributes.items()}
        self.text: list[str] = []
        self.counts: dict[str, int] = {}

    def add(self, name: str, value: JsonValue) -> None:
        count = self.counts[name] = self.counts.get(name, 0) + 1
        before = self.members.get(name)
        if count == 1:
            self.members[name] = value
        elif count > 2 and isinstance(before, list):
            before.append(value)
        else:
            self.members[name] = [before, value]

    @property
    def value(self) -> JsonValue:
        text = "".join(self.text)
        if not self.members:
            return text
        # Between elements, white space is there for the eye.
        if text and not (self.counts and text.isspace()):
            self.members["#text"] = text
        return self.members


class _Reader:
    def __init__(self) -> None:
        self._open = [_Element("", {})]
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype

    @property
    def value(self) -> JsonValue:
        return self._open[0].members

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > MAX_DEPTH:
            raise InvalidInput(
                f"line {self.parser.CurrentLineNumber} of the XML is nested more than {MAX_DEPTH} deep"
            )
        self._open.append(_Element(name, attributes))

    def _end(self, name: str) -> None:
        element = self._open.pop()
        self._open[-1].add(name, element.value)

    def _characters(self, text: str) -> None:
        self._open[-1].text.append(text)

    def _doctype(self, *_: object) -> NoReturn:
        raise InvalidInput("the XML has a DOCTYPE: types and entities are not read, since they may be bombs")


def read_xml(text: str) -> JsonValue:
    """An object with the document's element by its name.

    Raises:
        InvalidInput: It is no XML, has a DOCTYPE, or is nested too deep.
    """
    reader = _Reader()
    try:
        # What it declares of its encoding is about bytes, and this is text.
        reader.parser.Parse(_without_declaration(text).encode(), True)
    except expat.ExpatError as error:
        what = expat.ErrorString(error.code)
        raise InvalidInput(f"line {error.lineno}, column {error.offset + 1} is no XML: {what}") from None
    except UnicodeEncodeError:
        raise InvalidInput("the XML holds half of a surrogate pair, which is no character") from None
    return reader.value


def _without_declaration(text: str) -> str:
    text = text.removeprefix("\ufeff")
    if not text.startswith(("<?xml ", "<?xml\t", "<?xml\n", "<?xml\r")):
        return text
    end = text.find("?>")
    # Its lines stay, so that messages name the right one.
    return text if end < 0 else "\n" * text.count("\n", 0, end) + text[end + 2 :]


def write_xml(value: JsonValue) -> str:
    """A document.

    Args:
        value: An object with one member, which is the document's element, in the form that `read_xml` gives. Null is an
            empty element; numbers and booleans are written as in JSON.

    Raises:
        InvalidInput: It is none, or something in it has no place in XML.
    """
    if not isinstance(value, dict) or len(value) != 1:
        raise InvalidInput("write: xml takes an object with one member, the document's element by its name")
    [(name, inner)] = value.items()
    if isinstance(inner, list):
        raise InvalidInput(f"{name!r} is a list, and a document has one element")
    return "".join(_written(name, inner, 1))


def _written(name: str, value: JsonValue, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"{name!r} is nested more than {MAX_DEPTH} deep")
    members = value if isinstance(value, dict) else {"#text": value}
    yield f"<{_checked_name(name)}"
    for key, inner in members.items():
        if key.startswith("@"):
            yield f" {_checked_name(key[1:])}={quoteattr(_text(inner, key))}"
    yield ">"
    yield escape(_text(members.get("#text"), name), {"\r": "&#13;"})
    for key, inner in members.items():
        if key.startswith("@") or key == "#text":
            continue
        for one in inner if isinstance(inner, list) else [inner]:
            yield from _written(key, one, depth + 1)
    yield f"</{name}>"


def _checked_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(f"{name!r} is no name of an element or attribute")
    return name


def _text(value: JsonValue, place: str) -> str:
    if isinstance(value, dict | list):
        raise InvalidInput(f"{place!r} holds {json_kind(value)} where text stands")
    if not isinstance(value, str):
        return "" if value is None else json.dumps(value)
    if (wrong := _NO_CHARACTER.search(value)) is not None:
        raise InvalidInput(f"{place!r} holds {wrong[0]!r}, which XML has no place for")
    return value
