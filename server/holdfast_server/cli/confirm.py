"""One way to ask a person before something is done to many."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

import click

from holdfast import InvalidInput


def confirm(question: str, *, unasked: str, as_json: bool = False) -> None:
    """Go on only if a person says yes.

    Args:
        question: What they are asked, on stderr.
        unasked: What is told where nobody can be asked: without a terminal, or with --json.
        as_json: Whether --json was given.

    Raises:
        InvalidInput: They say no, or nobody can be asked: nothing is done, and the exit code is that of wrong use.
        KeyboardInterrupt: They press Ctrl-C or Ctrl-D.
    """
    if as_json or not sys.stdin.isatty():
        raise InvalidInput(unasked)
    with _ctrl_c_ends_the_question():
        try:
            agreed = click.confirm(question, err=True)
        except click.Abort:
            raise KeyboardInterrupt from None
    if not agreed:
        raise InvalidInput("nothing was done")


@contextmanager
def _ctrl_c_ends_the_question() -> Generator[None]:
    """The event loop would only note it, and the question go on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
