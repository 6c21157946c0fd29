"""What the commands print: text for people, JSON for programs, and nothing that a terminal obeys.

Run ids, errors and prompts come from outside. They are printed as text, never as markup, and control characters are
shown instead of sent.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNBOUNDED_WIDTH = 1000
"""Columns when the output is no terminal: nothing is cut or wrapped for a program or a file."""

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, change direction, hide text or cannot be encoded."""


_results: ContextVar[TextIO | None] = ContextVar("results", default=None)


@contextmanager
def only_results() -> Generator[None]:
    """Keep stdout for what the functions below print; what the user's code prints goes to stderr."""
    token = _results.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results.reset(token)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # Rich would end the process with 1, as if the command had failed


def _console(stream: TextIO) -> Console:
    return _Console(
        file=stream,
        width=None if stream.isatty() else _UNBOUNDED_WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
    )


def stdout() -> Console:
    """Where results go."""
    return _console(_results.get() or sys.stdout)


def stderr() -> Console:
    """Where notices, progress and errors go."""
    return _console(sys.stderr)


def clean(text: str, *, lines: bool = False) -> str:
    """The text with control characters written as escapes.

    Args:
        text: Anything.
        lines: Whether line breaks may stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if lines and char == "\n" else _shown(char) for char in text)


def _shown(char: str) -> str:
    if unicodedata.category(char) not in _HIDDEN:
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def say(text: str, *, style: str = "") -> None:
    """Print a line for people on stdout."""
    stdout().print(Text(clean(text, lines=True), style=style), soft_wrap=True)


def note(text: str, *, style: str = "") -> None:
    """Print a line for people on stderr."""
    stderr().print(Text(clean(text, lines=True), style=style), soft_wrap=True)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON, and as nothing else, on stdout."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    safe = "".join(
        char if char == "\n" or unicodedata.category(char) not in _HIDDEN else json.dumps(char)[1:-1]
        for char in text
    )
    stream = _results.get() or sys.stdout
    stream.write(safe + "\n")
    stream.flush()


def cell(value: object, *, style: str = "") -> Text:
    """A cell of a table."""
    return Text(clean("" if value is None else str(value)), style=style)


def table(columns: Sequence[str], rows: Sequence[Sequence[Text | str]]) -> Table:
    """A plain table; the last column takes what room there is."""
    made = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column == "run")
    for row in rows:
        made.add_row(*(item if isinstance(item, Text) else cell(item) for item in row))
    return made


@contextmanager
def busy(text: str) -> Generator[Callable[[str], None]]:
    """Show that something goes on, on a terminal; yields a function that changes the text."""
    console = stderr()
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(Text(clean(text))) as status:
        yield lambda changed: status.update(Text(clean(changed)))


def when(moment: datetime | None) -> str:
    """A time of day here, with the date if it is not today."""
    if moment is None:
        return ""
    local = moment.astimezone()
    today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def span(duration: timedelta | None) -> str:
    """A duration in two units at most."""
    if duration is None:
        return ""
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
