"""Calls of an executor that follow from its output: further pages, further looks until something holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, Field, JsonValue
from pydantic.config import JsonDict
from pydantic_core import to_json

from holdfast.errors import InvalidInput, WaitTimeout
from holdfast.spec.cel_values import is_map
from holdfast.spec.duration import Duration

FURTHER_CALLS: Final[JsonDict] = {"x-further-calls": True}
"""For `Field(json_schema_extra=...)` of a config's field that has calls follow: a map then says so before it starts."""


TOOLS: Final[JsonDict] = {"x-tools": True}
"""For `Field(json_schema_extra=...)` of a config's field `tools`: entries in it name steps and executors that calls may
be made of. The `config` of an entry stays as it is written until the run makes the call."""


class ToolCall(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """A call of something that the config's `tools` names. The run makes it, as a step of its own."""

    tool: int | None = None
    """The place in `tools`. None: nothing is called, and `error` says why."""
    given: dict[str, JsonValue] = {}
    """Arguments of a step, or fields of an executor's config. Nothing in them is a template or names a secret."""
    error: str = ""
    """Why nothing is called."""
    options: dict[str, JsonValue] = {}
    """How the step runs. The worker fills this in."""
    undo: dict[str, JsonValue] = {}
    """What undoes the step. The worker fills this in."""


class Called(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """What came of a `ToolCall`."""

    output: JsonValue = None
    """Its output."""
    error: str | None = None
    """What went wrong, if something did."""


class Earlier(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """What a call gets that others were made before."""

    output: JsonValue
    """The output that asked for them."""
    calls: list[Called]
    """What came of them, in the order of `NextCall.calls`."""


class NextCall(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """The call that is to follow one. Each is a step of its own, made by whoever made the first."""

    patch: dict[str, JsonValue] = {}
    """What is different in the config of the first call, as a JSON Merge Patch (RFC 7396)."""
    delay: Duration | None = None
    """The time to wait before. Default: none."""
    max_calls: int = Field(ge=1)
    """How many calls there may be, the first one included."""
    repeats: bool = False
    """Whether the same is asked again, so that only the last output counts. Otherwise every output counts, and a patch
    that was there before means that the calls go round in a circle."""
    calls: list[ToolCall] = []
    """What is called before it, side by side; in `ctx.earlier` it finds what came of them. Only with `repeats`."""


@dataclass(kw_only=True)
class Trail:
    """How far calls that follow from one another have come."""

    count: int = 0
    repeats: bool = False
    patch: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is different in the config of the next call."""
    seen: list[str] = field(default_factory=list[str])

    def follow(self, where: str, following: NextCall | None) -> None:
        """Count a call that was made, and see whether another one may follow.

        Args:
            where: What makes the calls, for messages.
            following: The call that is to follow, if one is.

        Raises:
            WaitTimeout: What is waited for does not hold after so many calls.
            InvalidInput: There are too many calls, or they go round in a circle.
        """
        self.count += 1
        if following is None:
            return
        self.repeats, self.patch = following.repeats, following.patch
        if self.count >= following.max_calls:
            if following.calls:
                raise InvalidInput(
                    f"{where}: it still asks for tools after max_turns={self.count}: raise it, or give it less to do"
                )
            if self.repeats:
                raise WaitTimeout(f"{where}: what is waited for does not hold after {self.count} calls")
            raise InvalidInput(
                f"{where}: there are more than max_pages={self.count}: raise it, or ask for larger ones"
            )
        if self.repeats:
            return
        mark = to_json(following.patch).decode()
        if mark in self.seen:
            raise InvalidInput(
                f"{where}: the pages go round in a circle: after page {self.count} comes {mark:.500} again"
            )
        self.seen.append(mark)


def merge_patch(value: Any, patch: Any) -> Any:
    """A JSON value with a merge patch applied: null takes a field away.

    Source: RFC 7396, section 2.
    """
    if not is_map(patch):
        return patch
    kept: Mapping[str, Any] = value if is_map(value) else {}
    merged = {name: item for name, item in kept.items() if name not in patch or patch[name] is not None}
    for name, item in patch.items():
        if item is not None:
            merged[name] = merge_patch(kept.get(name), item)
    return merged
