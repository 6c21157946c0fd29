"""How far a run came with a part of a map, and which of its items failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An item that failed in a map that collects."""

    message: str
    error_type: str
    unknown: bool
    """Whether it may have had an effect."""

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        return {"message": self.message, "error_type": self.error_type, "unknown": self.unknown}


@dataclass(frozen=True)
class PartResult:
    """What a run returned that did a part of a map."""

    result: Mapping[str, Any]
    outputs: Sequence[Any]

    def completed(self, index: int, first: int) -> bool:
        """Whether an item has completed; `first` is the position of the part's first one."""
        at = first + index
        return str(at) not in self.result["failed"] and not any(
            start <= at < start + count for start, count in self.result["rest"]
        )

    def begun(self, at: int) -> bool:
        """Whether the item at a position may have had an effect."""
        failed = self.result["failed"].get(str(at))
        if failed is not None:
            return bool(failed["unknown"])
        return not any(start <= at < start + count for start, count in self.result["rest"])

    def part(self, index: int, count: int, first: int) -> dict[str, Any]:
        """The same of so many items from one on."""
        begin, end = first + index, first + index + count
        rest = [
            (max(start, begin), min(start + number, end) - max(start, begin))
            for start, number in self.result["rest"]
        ]
        return {
            "outputs": self.outputs[index : index + count],
            "failed": {at: how for at, how in self.result["failed"].items() if begin <= int(at) < end},
            "rest": [(start, number) for start, number in rest if number > 0],
            "usage": {},
        }
