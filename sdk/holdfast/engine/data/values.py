"""One value to one payload and back, by its declared type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from google.protobuf.message import Message
from pydantic_core import PydanticSerializationError, ValidationError, to_json
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from holdfast.engine.data.refs import CONTEXT_KEY, Ref, RefContext, genuine_refs, list_refs
from holdfast.errors import InvalidInput
from holdfast.misfit import invalid

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a plain JSON value is an object."""
    return isinstance(value, dict)


def infer_json(value: object, *, where: str = "A value") -> Payload:
    """A `json/plain` payload, written by the value's own type.

    Raises:
        InvalidInput: The value cannot be written as JSON.
    """
    refs: list[str] = []
    try:
        data = to_json(value, round_trip=True, inf_nan_mode="null", context={CONTEXT_KEY: refs})
    except PydanticSerializationError as error:
        raise _unserialisable(value, error, where) from error
    return _json_payload(data, refs)


def to_payload(
    value: object, adapter: TypeAdapter[Any], converter: PayloadConverter, *, where: str = "A value"
) -> Payload:
    """A payload written by the declared type, which decides on aliases and custom serialisers.

    A value of another type (a `dict` for a model, say) is written by its own type, and then must be readable
    as the declared one.

    Raises:
        InvalidInput: The value cannot be written as JSON, or not be read back.
    """
    if value is None or isinstance(value, bytes | Message | Ref):
        payload = converter.to_payload(value)
        if value is None:
            from_payload(payload, adapter, converter, where=where)
        return payload
    refs: list[str] = []
    try:
        data = adapter.dump_json(
            value, by_alias=True, round_trip=True, warnings="error", context={CONTEXT_KEY: refs}
        )
    except PydanticSerializationError:
        payload = infer_json(value, where=where)
        if not genuine_refs(payload):
            from_payload(payload, adapter, converter, where=where)
        return payload
    return _json_payload(data, refs)


def from_payload(
    payload: Payload,
    adapter: TypeAdapter[T],
    converter: PayloadConverter,
    *,
    where: str = "A value",
    refs: RefContext | None = None,
) -> T:
    """Read a payload as the declared type.

    Raises:
        InvalidInput: The payload does not fit the type; the message names path and value.
    """
    encoding = payload.metadata.get("encoding", b"")
    context = None if refs is None else {CONTEXT_KEY: refs}
    try:
        if encoding == b"json/plain":
            return adapter.validate_json(payload.data, by_alias=True, by_name=True, context=context)
        if encoding == b"binary/plain":
            return adapter.validate_python(payload.data)
        if encoding == b"binary/null":
            return adapter.validate_python(None)
        return adapter.validate_python(_other_encoding(payload, converter, where))
    except ValidationError as error:
        raise invalid(error, where) from error


def megabytes(size_bytes: int) -> str:
    """A size for a message."""
    return f"{size_bytes / 1024 / 1024:.1f} MiB"


def _other_encoding(payload: Payload, converter: PayloadConverter, where: str) -> object:
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    try:
        return converter.from_payload(payload)
    except (KeyError, RuntimeError, ValueError) as error:  # an unknown encoding or message type
        raise InvalidInput(f"{where} has the encoding {encoding!r}: {error}") from error


def _json_payload(data: bytes, refs: list[str]) -> Payload:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
    list_refs(payload, refs)
    return payload


def _unserialisable(value: object, error: Exception, where: str) -> InvalidInput:
    reason = str(error).removeprefix("Error serializing to JSON: ")
    fix = "Use pydantic models, dataclasses or builtins."
    if "utf-8 sequence" in reason:
        fix = "Annotate bytes inside other values as `pydantic.Base64Bytes`."
    name = type(value).__qualname__
    return InvalidInput(f"{where} of type {name} cannot be written as JSON: {reason}. {fix}", type=name)
