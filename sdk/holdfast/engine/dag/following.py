"""The calls that follow from a node's first one: further pages, further looks until something holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload

from holdfast.authoring.next_call import NextCall, ToolCall, Trail
from holdfast.engine.payloads import list_of, object_of
from holdfast.errors import InvalidInput

_NEXT = "holdfast-next"
"""In the metadata of an executor's result: the call that follows, as JSON."""


def note_next(payload: Payload, following: NextCall) -> None:
    """Write down which call follows from a result."""
    payload.metadata[_NEXT] = following.model_dump_json(exclude_defaults=True).encode()


def take_next(payload: Payload) -> tuple[Payload, NextCall | None]:
    """A result without that note, and the call.

    Raises:
        InvalidInput: It cannot be read.
    """
    noted = payload.metadata.get(_NEXT)
    if noted is None:
        return payload, None
    bare = Payload()
    bare.CopyFrom(payload)
    del bare.metadata[_NEXT]
    try:
        return bare, NextCall.model_validate_json(noted)
    except ValidationError as error:
        raise InvalidInput(f"the call that is to follow cannot be read: {error.errors()[0]['msg']}") from None


@dataclass(kw_only=True)
class Chain(Trail):
    """How far the calls of one node have come."""

    outputs: list[Payload] = field(default_factory=list[Payload])
    """Of the calls so far; only the last one where the same is asked again."""
    asked: list[ToolCall] = field(default_factory=list[ToolCall])
    """What is to be called before the next one."""
    asking: Payload | None = None
    """The output that asked for it."""
    called: dict[int, Payload] = field(default_factory=dict[int, Payload])
    """What came of it so far, by its place in `asked`."""

    @property
    def payloads(self) -> list[Payload]:
        """All that goes to the next execution beside `to_json`."""
        return [*self.outputs, *self.called.values()]

    @property
    def earlier(self) -> Payload | None:
        """What the next call gets of those that were made before it."""
        if self.asking is None:
            return None
        called = list_of((self.called[place] for place in range(len(self.asked))), "a tool")
        return object_of({"output": self.asking, "calls": called})

    def add(self, node: str, output: Payload, following: NextCall | None) -> None:
        """Count a call.

        Raises:
            WaitTimeout, InvalidInput: As for `follow`.
        """
        if self.repeats:
            self.outputs.clear()
        self.outputs.append(output)
        self.follow(f"node {node!r}", following)
        self.asked, self.called = ([], {}) if following is None else (following.calls, {})
        self.asking = output if self.asked else None

    def to_json(self) -> dict[str, Any]:
        """As it goes to the next execution, without the payloads."""
        written: dict[str, Any] = {
            "count": self.count,
            "repeats": self.repeats,
            "patch": self.patch,
            "seen": self.seen,
        }
        if self.asked:
            written["asked"] = [one.model_dump(mode="json", exclude_defaults=True) for one in self.asked]
            written["called"] = list(self.called)
        return written

    @classmethod
    def of_json(cls, written: Mapping[str, Any], payloads: list[Payload]) -> Self:
        """What `to_json` wrote, and `payloads`."""
        fields = dict(written)
        asked = [ToolCall.model_validate(one) for one in fields.pop("asked", [])]
        places: list[int] = fields.pop("called", [])
        outputs, called = payloads[: len(payloads) - len(places)], payloads[len(payloads) - len(places) :]
        return cls(
            **fields,
            outputs=outputs,
            asked=asked,
            asking=outputs[-1] if asked else None,
            called=dict(zip(places, called, strict=True)),
        )
