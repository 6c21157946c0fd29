"""What a check of the doctor has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """It works, but not as well as it could."""
    FAIL = "fail"
    """Holdfast does not work like this."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""
    """What to do, unless all is well."""
