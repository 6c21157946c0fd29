"""Values that users get, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pydantic import JsonValue


class Jsonable:
    """Adds `to_dict` to a dataclass."""

    def to_dict(self) -> dict[str, JsonValue]:
        """The same as JSON values: times in ISO 8601, durations in seconds."""
        return cast("dict[str, JsonValue]", _to_json(self))


def _to_json(value: object) -> JsonValue:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _to_json(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in cast("list[object]", value)]
    return cast("JsonValue", value)
