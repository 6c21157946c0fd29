"""The file to which the steps of a map write what they do."""

from __future__ import annotations

import os

LEDGER = "BENCH_LEDGER"
"""The environment variable that names it."""


def append(item: int) -> None:
    """Append an item in one write, so that lines never mix."""
    fd = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b"%d\n" % item)
    os.close(fd)
