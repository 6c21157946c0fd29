"""Payloads and failures as people read them: opened by the codec, cut short, never fetched from storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue
from pydantic_core import from_json
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.common import RawValue
from temporalio.converter import DataConverter, PayloadCodec

from holdfast.client.description import CANCELLED, ErrorInfo, Preview
from holdfast.engine.data.refs import from_marker, genuine_refs, is_marker
from holdfast.engine.history.text import size
from holdfast.errors import StepFailed

STEP_PREVIEW_BYTES = 1024
RUN_PREVIEW_BYTES = 8 * 1024
MAX_OPENED_BYTES = 256 * 1024
"""Encoded payloads over this size are not opened for a preview."""

_PLAIN = frozenset({b"json/plain", b"json/protobuf", b"binary/plain", b"binary/null", b"binary/protobuf"})
_JSON = frozenset({b"json/plain", b"json/protobuf"})
_REFERENCE_ENCODING = b"json/external-storage-reference"
_REFERENCE_TYPE = b"temporal.api.sdk.v1.ExternalStorageReference"
_REFERENCE_MARK = "__temporal_external_storage_reference"
_CHUNK = 500

_TIMEOUTS: dict[int, str] = {
    TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE: "the attempt ran longer than its timeout",
    TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START: "no worker took it in time",
    TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE: "it took longer than its timeout, all attempts included",
    TimeoutType.TIMEOUT_TYPE_HEARTBEAT: "its worker stopped without a word",
}


class Opened:
    """The payloads that a codec opened, or why it could not. With none, what is stored as plain JSON is readable.

    Args:
        found: The opened payload, or the reason, by the encoded payload.
    """

    def __init__(self, found: Mapping[bytes, Payload | str] | None = None) -> None:
        self._found = found or {}

    def json(self, payload: Payload | None) -> JsonValue:
        """The value of a payload of Holdfast's own; `None` if it cannot be read."""
        opened = self._open(payload) if payload is not None else None
        if not isinstance(opened, Payload) or opened.metadata.get("encoding") not in _JSON:
            return None
        try:
            return _parsed(opened.data)
        except ValueError:
            return None

    def text(self, payload: Payload | None) -> str | None:
        """A summary or the like."""
        value = self.json(payload)
        return value if isinstance(value, str) else None

    def metadata(self, payload: Payload) -> Mapping[str, bytes]:
        """What is noted with a payload; nothing if it cannot be read."""
        opened = self._open(payload)
        return opened.metadata if isinstance(opened, Payload) else {}

    def preview(self, payload: Payload, limit_bytes: int = STEP_PREVIEW_BYTES) -> Preview:
        """A payload, cut to the limit."""
        stored_bytes = payload.external_payloads
        if is_stored_elsewhere(payload):
            total = sum(stored.size_bytes for stored in stored_bytes)
            text = f"<{size(total)}, kept in storage>" if total else "<kept in storage>"
            return Preview(text=text, size_bytes=total or len(payload.data), complete=False)
        opened = self._open(payload)
        if isinstance(opened, str):
            return Preview(text=f"<{opened}>", size_bytes=len(payload.data), complete=False)
        return _preview(opened, len(payload.data), limit_bytes)

    def error(self, failure: Failure) -> ErrorInfo:
        """What a failure says: of the exception that user code raised, where there is one."""
        kind = failure.WhichOneof("failure_info")
        if kind in {"activity_failure_info", "child_workflow_execution_failure_info"} and failure.HasField(
            "cause"
        ):
            cause = self.error(failure.cause)
            if kind == "activity_failure_info":
                what = f"step {failure.activity_failure_info.activity_type.name!r}"
            else:
                child = failure.child_workflow_execution_failure_info.workflow_execution.workflow_id
                what = f"child run {child!r}"
            return ErrorInfo(type=cause.type, message=f"{what} failed: {cause.message}")
        message = self._message(failure)
        if kind == "application_failure_info":
            told = failure.application_failure_info
            return ErrorInfo(
                type=told.type or "ApplicationError",
                message=message,
                step_type=self._step_type(told) if told.type == StepFailed.__name__ else None,
            )
        if kind == "timeout_failure_info":
            reason = _TIMEOUTS.get(failure.timeout_failure_info.timeout_type, message)
            if (
                failure.HasField("cause")
                and failure.cause.WhichOneof("failure_info") == "application_failure_info"
            ):
                reason = f"{reason}; before that: {self.error(failure.cause)}"
            return ErrorInfo(type="TimeoutError", message=reason)
        names = {
            "canceled_failure_info": CANCELLED,
            "terminated_failure_info": "TerminatedError",
            "server_failure_info": "ServerError",
        }
        return ErrorInfo(type=names.get(kind or "", "FailureError"), message=message)

    def _step_type(self, failure: ApplicationFailureInfo) -> str | None:
        """What the step of a `StepFailed` raised."""
        for payload in failure.details.payloads:
            detail = self.json(payload)
            if isinstance(detail, dict) and isinstance(kind := detail.get("step_error"), str):
                return kind or None
        return None

    def _message(self, failure: Failure) -> str:
        if not failure.HasField("encoded_attributes"):
            return failure.message
        hidden = self.json(failure.encoded_attributes)
        if isinstance(hidden, dict) and isinstance(message := hidden.get("message"), str):
            return message
        opened = self._open(failure.encoded_attributes)
        return f"<{opened}>" if isinstance(opened, str) else failure.message

    def _open(self, payload: Payload) -> Payload | str:
        if _is_plain(payload):
            return payload
        return self._found.get(payload.SerializeToString(deterministic=True), payload)


def is_stored_elsewhere(payload: Payload) -> bool:
    """Whether a payload only refers to one in claim-check storage."""
    metadata = payload.metadata
    return (
        metadata.get("encoding") == _REFERENCE_ENCODING
        or metadata.get("messageType") == _REFERENCE_TYPE
        or metadata.get(_REFERENCE_MARK) == b"true"
    )


def failure_payloads(failure: Failure | None) -> Iterable[Payload]:
    """The encoded messages of a failure and its causes."""
    while failure is not None:
        if failure.HasField("encoded_attributes"):
            yield failure.encoded_attributes
        failure = failure.cause if failure.HasField("cause") else None


async def open_payloads(
    converter: DataConverter, payloads: Iterable[Payload], needed: Sequence[Payload] = ()
) -> Opened:
    """Run the codec over what needs it.

    Args:
        converter: Whose codec and storage to use.
        payloads: For previews; those that are large or in storage are left alone.
        needed: Small facts of Holdfast's own, which are fetched wherever they are.
    """
    found: dict[bytes, Payload | str] = {}
    if converter.payload_codec is not None:
        await _open_all(converter.payload_codec, payloads, found)
    for payload in needed:
        if is_stored_elsewhere(payload):
            found[payload.SerializeToString(deterministic=True)] = await _fetch(converter, payload)
    return Opened(found)


async def _open_all(
    codec: PayloadCodec, payloads: Iterable[Payload], found: dict[bytes, Payload | str]
) -> None:
    encoded: dict[bytes, Payload] = {}
    for payload in payloads:
        if _is_plain(payload) or is_stored_elsewhere(payload):
            continue
        key = payload.SerializeToString(deterministic=True)
        if len(payload.data) > MAX_OPENED_BYTES:
            found[key] = f"{size(len(payload.data))}, encoded"
        else:
            encoded[key] = payload
    keys = list(encoded)
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        opened: Sequence[Payload | str]
        try:
            opened = await codec.decode([encoded[key] for key in chunk])
        except Exception:  # noqa: BLE001 - user code; one payload that cannot be opened must not hide the others
            opened = [await _open_one(codec, encoded[key]) for key in chunk]
        found.update(zip(chunk, opened, strict=False))


async def _open_one(codec: PayloadCodec, payload: Payload) -> Payload | str:
    try:
        return (await codec.decode([payload]))[0]
    except Exception as error:  # noqa: BLE001 - user code; the reason stands in place of the value
        return f"cannot be read here: {error}"


async def _fetch(converter: DataConverter, payload: Payload) -> Payload | str:
    try:
        values: list[RawValue] = await converter.decode([payload], [RawValue])
        return values[0].payload
    except Exception as error:  # noqa: BLE001 - storage and codec are user code; a run can be described without
        return f"cannot be read here: {error}"


def _is_plain(payload: Payload) -> bool:
    return payload.metadata.get("encoding") in _PLAIN and not is_stored_elsewhere(payload)


def _preview(payload: Payload, stored_bytes: int, limit_bytes: int) -> Preview:
    encoding, data = payload.metadata.get("encoding", b""), payload.data
    if encoding == b"binary/null":
        return Preview(value=None, text="null", size_bytes=0, complete=True)
    if encoding not in _JSON:
        named = "bytes" if encoding == b"binary/plain" else encoding.decode(errors="replace") or "unknown"
        return Preview(text=f"<{size(len(data))}, {named}>", size_bytes=stored_bytes, complete=False)
    if len(data) > limit_bytes:
        text = data[:limit_bytes].decode("utf-8", "ignore")
        return Preview(text=f"{text}…", size_bytes=stored_bytes, complete=False)
    text = data.decode("utf-8", "replace")
    try:
        value = _parsed(data)
    except ValueError:
        return Preview(text=text, size_bytes=stored_bytes, complete=False)
    if is_marker(value) and value["$holdfast_ref"] in genuine_refs(payload):
        ref = from_marker(value)
        return Preview(
            text=f"<{size(ref.size_bytes)}, kept in storage>", size_bytes=ref.size_bytes, complete=False
        )
    return Preview(value=value, text=text, size_bytes=stored_bytes, complete=True)


def _parsed(data: bytes) -> JsonValue:
    # NaN is no JSON; and this parser refuses deep nesting instead of running out of stack.
    value: JsonValue = from_json(data, allow_inf_nan=False)
    return value
