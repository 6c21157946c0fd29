"""What a rule about code has to say, before a level makes a finding of it."""

from __future__ import annotations

import ast
from typing import NamedTuple


class Hit(NamedTuple):
    """A possible finding."""

    code: str
    node: ast.AST
    """Where it is: something with a line."""
    message: str
    fix: str
    """May name `{now}`, `{random}`, `{uuid4}` and `{step}`, which differ between Holdfast and Temporal's own SDK."""
