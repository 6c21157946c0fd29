"""Guarding the first start: one killed while it creates its tables leaves a file it can never open again."""

from __future__ import annotations

import os
import sys

from .home import Home

_SUFFIXES = ("", "-wal", "-shm", "-journal")


def begin(home: Home) -> None:
    """Call before a start: marks a database that is about to be created, sets one aside that never was ready.

    Such a file holds nobody's data, because no user is told of a server before it is ready. It is kept as
    `temporal.db.unfinished` all the same.
    """
    if home.creating.exists():
        for suffix in _SUFFIXES:
            part = home.database.with_name(home.database.name + suffix)
            if part.exists():
                os.replace(part, part.with_name(f"{home.database.name}.unfinished{suffix}"))
    elif not home.database.exists():
        home.creating.touch(mode=0o600)
        _sync(home)


def finish(home: Home) -> None:
    """Call when the server is ready, before anybody is told."""
    if home.creating.exists():
        home.creating.unlink()
        # Should the mark come back after a power cut, the next start would set acknowledged data aside.
        _sync(home)


def _sync(home: Home) -> None:
    if sys.platform != "win32":
        folder = os.open(home.root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
