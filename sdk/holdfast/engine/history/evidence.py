"""Which call a value came from: what a history says of data, beside the order of its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, cast

from pydantic import JsonValue
from pydantic_core import to_json
from temporalio.api.common.v1 import Payload

from holdfast.engine.history.calls import Call
from holdfast.engine.history.payloads import Opened

MAX_READ_BYTES: Final = 8 * 1024
"""Of larger payloads only the whole is compared."""
_MAX_PARTS: Final = 48
_MAX_SOURCES: Final = 500
_MIN_BYTES: Final = 6
"""Shorter JSON, such as `true`, `[]`, `17` or `"ok"`, comes from many places."""


class Evidence:
    """Follows values from the results of calls to the arguments of others.

    A value belongs to the call whose result showed it first. One that was known before, from the run's input, from an
    argument that workflow code made, or from two calls that each made it, says nothing.

    Args:
        opened: The payloads that a codec had to open.
        known: The arguments of the run.
    """

    def __init__(self, opened: Opened, known: Iterable[Payload]) -> None:
        self._opened = opened
        self._origins: dict[int, Call | None] = {}
        self._own: dict[Call, frozenset[int]] = {}
        for part in self._parts(list(known)):
            self._origins.setdefault(part, None)

    def sources(self, call: Call) -> list[Call]:
        """The calls that the arguments of this one came from. Called once, when it is scheduled."""
        parts = frozenset(self._parts(call.input))
        self._own[call] = parts
        found: dict[Call, None] = {}
        for part in parts:
            origin = self._origins.setdefault(part, None)
            if origin is not None:
                found[origin] = None
        return list(found)[:_MAX_SOURCES]

    def produced(self, call: Call) -> None:
        """Take note of a result. Called once, when workflow code learns of it."""
        own = self._own.pop(call, frozenset[int]())
        for part in self._parts(call.result):
            if part not in own and self._origins.setdefault(part, call) is not call:
                self._origins[part] = None

    def _parts(self, payloads: Sequence[Payload]) -> Iterator[int]:
        """The values in payloads that are distinct enough to tell something, by their hash."""
        for payload in payloads:
            if len(payload.data) > MAX_READ_BYTES:
                yield hash(payload.data)
                continue
            value = self._opened.json(payload)
            if value is not None:
                yield from _parts_of(value)
            elif len(payload.data) >= _MIN_BYTES and "encoding" in payload.metadata:
                yield hash(payload.data)


def _parts_of(value: JsonValue) -> Iterator[int]:
    """The JSON of a value, of its parts and of their parts, and every scalar below; the outer ones first."""
    level: list[JsonValue] = [value]
    count = 0
    for depth in range(6):
        below: list[JsonValue] = []
        for item in level:
            is_container = isinstance(item, dict | list)
            if not is_container or depth < 3:
                text = to_json(item)
                if len(text) >= _MIN_BYTES:
                    yield hash(text)
                    count += 1
                    if count == _MAX_PARTS:
                        return
            if is_container:
                below += cast("list[JsonValue]", list(item.values()) if isinstance(item, dict) else item)
        level = below
