"""The calls that follow from a node's first one: further pages, further looks until something holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from temporalio.api.common.v1 import Payload

from holdfast.authoring.next_call import NextCall, Trail

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
class Chain(Trail):
    """How far the calls of one node have come."""

    outputs: list[Payload] = field(default_factory=list[Payload])
    """Of the calls so far; only the last one where the same is asked again."""

    def add(self, node: str, output: Payload, following: NextCall | None) -> None:
        """Count a call.

        Raises:
            WaitTimeout, InvalidInput: As for `follow`.
        """
        if self.repeats:
            self.outputs.clear()
        self.outputs.append(output)
        self.follow(f"node {node!r}", following)

    def to_json(self) -> dict[str, Any]:
        """As it goes to the next execution, without the outputs."""
        return {"count": self.count, "repeats": self.repeats, "patch": self.patch, "seen": self.seen}

    @classmethod
    def of_json(cls, written: Mapping[str, Any], outputs: list[Payload]) -> Self:
        """What `to_json` wrote."""
        return cls(**written, outputs=outputs)
