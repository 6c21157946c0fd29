"""Values at the workflow's side: pure, without I/O, and Refs stay Refs."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from pydantic_core import from_json, to_json
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from holdfast.engine.data.adapters import make_adapter
from holdfast.engine.data.refdoc import RefDocument
from holdfast.engine.data.refs import (
    MARKER_KEY,
    Ref,
    RefContext,
    from_marker,
    genuine_refs,
    is_list,
    is_marker,
    markers,
    mentions_ref,
)
from holdfast.engine.data.values import from_payload, infer_json, to_payload
from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def encode_argument(
    value: object,
    converter: PayloadConverter,
    adapter: TypeAdapter[Any] | None = None,
    *,
    where: str = "An argument",
) -> Payload:
    """Make the payload of an argument or result in workflow code. Its metadata lists the Refs inside.

    Args:
        value: The value. A Ref may stand anywhere in it, also where the type says something else.
        converter: Of the workflow, `workflow.payload_converter()`.
        adapter: Of the declared type. `None` writes by the value's own type.
        where: What the value is, for messages.

    Raises:
        InvalidInput: The value cannot be written as JSON, or not be read back as the declared type.
    """
    if adapter is not None:
        return to_payload(value, adapter, converter, where=where)
    if value is None or isinstance(value, bytes):
        return converter.to_payload(value)
    return infer_json(value, where=where)


def decode_in_workflow(
    payload: Payload, adapter: TypeAdapter[T], converter: PayloadConverter, *, where: str = "A value"
) -> T | Ref[T]:
    """Read a value in workflow code, with Refs where a step's result is too large for it.

    Args:
        payload: As the SDK delivers it to a parameter or result of type `RawValue`.
        adapter: Of the declared type.
        converter: Of the workflow, `workflow.payload_converter()`.
        where: What the value is, for messages.

    Returns:
        The value; a Ref if it is one as a whole; a list, tuple or dict with Refs among its members.

    Raises:
        InvalidInput: The value does not fit, or a Ref stands in a model field not annotated `Ref[...]`.
    """
    allowed = genuine_refs(payload)
    if not allowed:
        return from_payload(payload, adapter, converter, where=where)
    if mentions_ref(adapter.core_schema):
        document, context = RefDocument(payload, allowed), RefContext(allowed)
        document.keep_typed(adapter, context)
        if not document.open_hashes:
            return from_payload(payload, adapter, converter, where=where, refs=context)
    declared: Any = adapter._type  # pyright: ignore[reportPrivateUsage]
    placed: T | Ref[T] = _place(from_json(payload.data), declared, _Place(allowed, converter, where))
    return placed


class _Place:
    def __init__(self, allowed: frozenset[str], converter: PayloadConverter, where: str) -> None:
        self.allowed, self.converter, self.where = allowed, converter, where
        self._adapters: dict[int, TypeAdapter[Any]] = {}

    def read(self, node: object, declared: Any) -> Any:
        adapter = self._adapters.get(id(declared))
        if adapter is None:
            adapter = self._adapters[id(declared)] = make_adapter(declared)
        payload = Payload(metadata={"encoding": b"json/plain"}, data=to_json(node))
        return from_payload(payload, adapter, self.converter, where=self.where, refs=RefContext(self.allowed))


def _place(node: Any, declared: Any, place: _Place) -> Any:
    """Read containers member by member, so that a Ref may stand for a member of any type."""
    if is_marker(node) and node[MARKER_KEY] in place.allowed:
        return from_marker(node)
    if next(markers(node, place.allowed), None) is None:
        return place.read(node, declared)
    declared = _without_none(declared)
    arguments = get_args(declared)
    origin = get_origin(declared) or declared
    if is_list(node):
        if origin is tuple and arguments and Ellipsis not in arguments and len(arguments) == len(node):
            return tuple(_place(item, kind, place) for item, kind in zip(node, arguments, strict=True))
        member = arguments[0] if arguments else Any
        items = [_place(item, member, place) for item in node]
        return tuple(items) if origin is tuple else items
    if isinstance(node, dict) and (origin is dict or len(arguments) == 2 or declared is Any):
        member = arguments[1] if len(arguments) == 2 else Any
        return {key: _place(item, member, place) for key, item in cast("dict[str, Any]", node).items()}
    raise InvalidInput(
        f"{place.where} holds a Ref inside a {getattr(declared, '__name__', declared)}. Annotate that field "
        "`Ref[...]`, or pass the value as a parameter of its own."
    )


def _without_none(declared: Any) -> Any:
    while get_origin(declared) is Annotated:
        declared = get_args(declared)[0]
    if get_origin(declared) in (Union, UnionType):
        others = [kind for kind in get_args(declared) if kind is not NoneType]
        return _without_none(others[0]) if len(others) == 1 else declared
    return declared
