"""One name for errors that are the same but for numbers, ids and quoted values."""

from __future__ import annotations

import hashlib
import re
from typing import Final

_CHARS: Final = 500
"""How much of a message counts; what follows is mostly the values."""

_VALUES: Final = re.compile(
    r"""
      \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b
    | \b0x[0-9a-f]+\b
    | \b(?=[a-f]*[0-9])[0-9a-f]{7,}\b
    | '[^'\n]*' | "[^"\n]*" | `[^`\n]*`
    | [+-]?\d[\d_.,:]*
    """,
    re.VERBOSE | re.IGNORECASE,
)


def normalised(message: str) -> str:
    """The message with `#` for each number, id and quoted value, on one line."""
    return " ".join(_VALUES.sub("#", message[:_CHARS]).split())


def fingerprint(error_type: str, message: str, step: str | None = None) -> str:
    """A short name of an error, the same wherever it happens again.

    Args:
        error_type: The class name of the exception.
        message: What it said.
        step: The step that failed, if one did.

    Returns:
        16 hexadecimal digits.
    """
    # Surrogates may stand in any message, and separators may not: they are made of whitespace that is gone by now.
    facts = "\n".join((error_type, normalised(message), step or ""))
    return hashlib.blake2b(facts.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
