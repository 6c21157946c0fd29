"""Validators, made where pydantic's slow half is first needed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@functools.cache
def plain_adapter() -> TypeAdapter[Any]:
    """The validator of plain JSON values."""
    return make_adapter(Any)


@functools.cache
def object_adapter() -> TypeAdapter[Any]:
    """The validator of an object of plain JSON values."""
    return make_adapter(dict[str, Any])


def make_adapter(hint: Any) -> TypeAdapter[Any]:
    """The validator of a type. Importing pydantic's models takes as long as half of `import holdfast`."""
    from pydantic import TypeAdapter

    return TypeAdapter(hint)
