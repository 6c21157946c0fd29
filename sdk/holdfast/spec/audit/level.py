"""How strict an audit is, and what a rule says at each level."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from holdfast.spec.finding import Severity

Level: TypeAlias = Literal["normal", "strict", "paranoid", "pedantic"]
"""`normal`: what breaks runs. `strict`: also what hurts when something fails. `paranoid`, `pedantic`: also what is only
not as clear or as bounded as it could be."""

LEVELS: Final[tuple[Level, ...]] = get_args(Level)


class Grade(NamedTuple):
    """From how many of something on a rule warns, and from how many it is an error; `None` is never."""

    warning_from: int | None
    error_from: int | None

    def severity(self, count: int) -> Severity | None:
        """What so many are; `None` if the rule has nothing to say."""
        if self.error_from is not None and count >= self.error_from:
            return "error"
        if self.warning_from is not None and count >= self.warning_from:
            return "warning"
        return None

    def __str__(self) -> str:
        parts = [
            name if start == 1 else f"{name} from {start}"
            for name, start in (("warning", self.warning_from), ("error", self.error_from))
            if start is not None and not (name == "warning" and self.error_from == 1)
        ]
        return ", ".join(parts) or "-"


OFF: Final = Grade(None, None)
WARNING: Final = Grade(1, None)
ERROR: Final = Grade(None, 1)
