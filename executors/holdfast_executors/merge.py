"""`merge`: collects what several nodes gave into one value."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field, JsonValue

from holdfast import Executor, ExecutorContext, ExecutorOptions, InvalidInput
from holdfast.spec.plain import json_kind


class MergeConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """What is merged are the outputs of the nodes that this one depends on."""

    into: Literal["object", "list", "concatenated", "deep"] = "object"
    """An `object` by node, a `list` of the outputs, one list `concatenated` of lists, or one object of objects, merged
    `deep`: members of objects in both are merged too, and of two other values the later one counts."""

    order: list[str] | None = Field(default=None, min_length=1)
    """The nodes, in the order in which they are merged. Default: all that it depends on, by their ids."""

    skipped: Literal["keep", "drop"] = "drop"
    """Whether outputs that are null, as those of skipped nodes are, count."""


class Merge(Executor[MergeConfig, JsonValue]):
    """Collects the outputs of the nodes that it depends on into one value, which is the output."""

    type = "merge"
    options = ExecutorOptions(timeout=timedelta(minutes=1), has_effects=False, idempotent=True, local=True)

    async def execute(self, ctx: ExecutorContext, config: MergeConfig, input: JsonValue) -> JsonValue:
        """See base class."""
        del ctx
        if not isinstance(input, dict):
            raise InvalidInput(f"merge works on an object of outputs by node, got {json_kind(input)}")
        names = sorted(input) if config.order is None else config.order
        if unknown := [name for name in names if name not in input]:
            there = ", ".join(sorted(input)) or "none"
            raise InvalidInput(f"order: it does not depend on {unknown[0]!r}; it depends on: {there}")
        parts = {name: input[name] for name in names if config.skipped == "keep" or input[name] is not None}
        if config.into == "object":
            return parts
        if config.into == "list":
            return list(parts.values())
        if config.into == "concatenated":
            return _concatenated(parts)
        return await asyncio.to_thread(_merged, parts)

    def validate(self, config: MergeConfig) -> list[str]:
        """See base class."""
        names = config.order or []
        twice = sorted({name for name in names if names.count(name) > 1})
        return [f"order: {', '.join(map(repr, twice))} stands there twice"] if twice else []


def _concatenated(parts: Mapping[str, JsonValue]) -> JsonValue:
    found: list[JsonValue] = []
    for name, part in parts.items():
        if not isinstance(part, list):
            raise InvalidInput(
                f"the output of {name!r} is no list but {json_kind(part)}: it cannot be concatenated"
            )
        found += part
    return found


def _merged(parts: Mapping[str, JsonValue]) -> JsonValue:
    found: dict[str, JsonValue] = {}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise InvalidInput(
                f"the output of {name!r} is no object but {json_kind(part)}: it cannot be merged deep"
            )
        found = _deep(found, part)
    return found


def _deep(first: dict[str, JsonValue], second: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    found = dict(first)
    for key, value in second.items():
        before = found.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        found[key] = _deep(before, value) if both else value  # type: ignore[arg-type]  # both are objects
    return found
