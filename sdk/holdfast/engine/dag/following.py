"""The calls that follow from a node's first one: further pages, further looks until something holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic_core import to_json
from temporalio.api.common.v1 import Payload

from holdfast.authoring.next_call import NextCall
from holdfast.errors import InvalidInput, WaitTimeout

_NEXT = "holdfast-next"
"""In the metadata of an executor's result: the call that follows, as JSON."""


def note_next(payload: Payload, following: NextCall) -> None:
    """Write down which call follows from a result."""
    payload.metadata[_NEXT] = following.model_dump_json(exclude_defaults=True).encode()


def take_next(payload: Payload) -> tuple[Payload, NextCall | None]:
    """A result without that note, and the call."""
    noted = payload.metadata.get(_NEXT)
    if noted is None:
        return payload, None
    bare = Payload()
    bare.CopyFrom(payload)
    del bare.metadata[_NEXT]
    return bare, NextCall.model_validate_json(noted)


@dataclass(kw_only=True)
class Chain:
    """How far the calls of one node have come."""

    outputs: list[Payload] = field(default_factory=list[Payload])
    """Of the calls so far; only the last one where the same is asked again."""
    count: int = 0
    repeats: bool = False
    patch: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is different in the config of the next call."""
    seen: list[str] = field(default_factory=list[str])

    def add(self, node: str, output: Payload, following: NextCall | None) -> None:
        """Count a call.

        Raises:
            WaitTimeout: What is waited for does not hold after so many calls.
            InvalidInput: There are too many calls, or they go round in a circle.
        """
        self.count += 1
        if following is not None:
            self.repeats = following.repeats
        if self.repeats:
            self.outputs.clear()
        self.outputs.append(output)
        if following is None:
            return
        if self.count >= following.max_calls:
            if self.repeats:
                raise WaitTimeout(f"node {node!r}: what it waits for does not hold after {self.count} calls")
            raise InvalidInput(
                f"node {node!r}: there are more than {self.count} pages; allow more, or ask for larger ones"
            )
        self.patch = following.patch
        if not self.repeats:
            mark = to_json(following.patch).decode()
            if mark in self.seen:
                raise InvalidInput(
                    f"node {node!r}: its pages go round in a circle: after page {self.count} comes {mark:.500} again"
                )
            self.seen.append(mark)

    def to_json(self) -> dict[str, Any]:
        """As it goes to the next execution, without the outputs."""
        return {"count": self.count, "repeats": self.repeats, "patch": self.patch, "seen": self.seen}

    @classmethod
    def of_json(cls, written: Mapping[str, Any], outputs: list[Payload]) -> Self:
        """What `to_json` wrote."""
        return cls(**written, outputs=outputs)
