"""HTML to text, in time linear in its length whatever it holds: the parser of the standard library takes minutes for
some kilobytes of unfinished tags."""

from __future__ import annotations

import html
import re
from typing import Final

_TAG: Final = re.compile(r"/?([a-zA-Z][a-zA-Z0-9]*)")
_RAW: Final = {
    name: re.compile(rf"</{name}", re.IGNORECASE | re.ASCII) for name in ("script", "style", "template")
}
"""What is left out with all that is inside, and how it ends."""
_LINES: Final = frozenset({"dd", "div", "dt", "hr", "li", "option", "title", "tr"})
_PARAGRAPH: Final = re.compile(
    "address|article|aside|blockquote|body|dl|figure|footer|form|h[1-6]|head|header|main|nav|ol|p|pre|section|table|ul"
)
_CELLS: Final = frozenset({"td", "th"})

_LONG_REFERENCE: Final = re.compile(r"&#(?=[xX]?[0-9a-fA-F]{9})")
_SPACE: Final = re.compile(r"[ \t\r\n\f]+")
_GAP: Final = re.compile(r"[ \r\n]*[\r\n][ \r\n]*")
"""What stands between lines: a carriage return asks for a new line, a line feed for one more."""


class _Places:
    """Where texts stand next, in one pass over the whole for each of them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: dict[str, int] = {}

    def after(self, what: str, start: int) -> int:
        """The first place from `start` on, which never goes back; the length of the text if there is none."""
        found = self._found.get(what, -1)
        if found < start:
            found = self._text.find(what, start)
            self._found[what] = found = len(self._text) if found < 0 else found
        return found


def html_to_text(source: str) -> str:
    """What a reader sees: paragraphs apart, lines of lists and tables, no scripts and styles, references resolved."""
    places, size = _Places(source), len(source)
    parts: list[str] = []
    position, quotes = 0, True
    while position < size:
        start = places.after("<", position)
        parts.append(_SPACE.sub(" ", _resolved(source[position:start])))
        if start == size:
            break
        tag = _TAG.match(source, start + 1)
        if tag is None:
            position = _after_markup(source, places, start)
            if position == start:  # a bare "<"
                parts.append("<")
                position = start + 1
            continue
        end = _end_of_tag(source, places, tag.end(), quotes=quotes)
        if end == size and quotes:
            # No tag ends outside of quotes from here on; looking again from each one would take for ever.
            quotes, places = False, _Places(source)
            end = places.after(">", tag.end())
        position = end + 1
        name = tag[1].lower()
        if name in _RAW and source[start + 1] != "/":
            closing = _RAW[name].search(source, position)
            position = size if closing is None else closing.start()
        parts.append(_break(name, closing=source[start + 1] == "/"))
    return re.sub(" +", " ", _GAP.sub(_lines, "".join(parts))).strip()


def _lines(gap: re.Match[str]) -> str:
    return "\n\n" if gap[0].count("\n") > 1 else "\n"


def _after_markup(source: str, places: _Places, start: int) -> int:
    """Where a comment, declaration or stray end tag ends; its start if it is none of them."""
    if source.startswith("<!--", start):
        return places.after("-->", start + 4) + 3
    if source.startswith(("<!", "<?", "</"), start):
        return places.after(">", start + 2) + 1
    return start


def _end_of_tag(source: str, places: _Places, position: int, *, quotes: bool) -> int:
    size = len(source)
    while True:
        end = places.after(">", position)
        opening = min(places.after('"', position), places.after("'", position)) if quotes else size
        if end < opening or end == size:
            return end
        closing = places.after(source[opening], opening + 1)
        if closing == size:
            return end
        position = closing + 1


def _break(name: str, *, closing: bool) -> str:
    if _PARAGRAPH.fullmatch(name):
        return "\n\n"
    if name in _CELLS:
        return " "  # also before: a cell need not be closed
    if name == "br":
        return "\n"
    if name in _LINES:
        return "\r- " if name == "li" and not closing else "\r"
    return ""


def _resolved(text: str) -> str:
    # Python refuses to read numbers of thousands of digits, and no character has one of nine.
    return html.unescape(_LONG_REFERENCE.sub("&amp;#", text))
