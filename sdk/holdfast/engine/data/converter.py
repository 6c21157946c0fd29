"""The data converter: pydantic JSON, and nothing that only Python can read."""

from __future__ import annotations

from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    ExternalStorage,
    JSONPlainPayloadConverter,
    PayloadCodec,
    PayloadConverter,
    StorageDriver,
)
from temporalio.exceptions import FailureError

from holdfast.engine.data.values import infer_json

_SHOWN_CHARACTERS = 10_000
"""Of the message and of the stack trace of one exception."""

CLAIM_CHECK_BYTES = 32 * 1024
"""Payloads from this size on go to storage, if there is one."""


class JsonPayloadConverter(PydanticJSONPlainPayloadConverter):
    """Values to and from `json/plain`, by pydantic.

    NaN and infinity do not exist in JSON and become `null`, as pydantic writes them in models: every SDK can
    read the result. A float that must keep them belongs in a model with `ser_json_inf_nan="strings"`.
    Computed fields are left out, so that a model with `extra="forbid"` can be read back.
    """

    def to_payload(self, value: Any) -> Payload | None:
        """Serialise a value.

        Raises:
            InvalidInput: The value has a type that cannot be written as JSON.
        """
        return infer_json(value)


# Temporal makes a payload converter for every step and task; its parts have no state but a cache worth sharing.
_JSON = JsonPayloadConverter(max_cached_type_adapters=128)
_CONVERTERS = tuple(
    _JSON if isinstance(converter, JSONPlainPayloadConverter) else converter
    for converter in DefaultPayloadConverter.default_encoding_payload_converters
)


class HoldfastPayloadConverter(CompositePayloadConverter):
    """Null, bytes and protobuf as Temporal has them, everything else through `JsonPayloadConverter`."""

    def __init__(self) -> None:
        super().__init__(*_CONVERTERS)


class BoundedFailureConverter(DefaultFailureConverter):
    """Cuts messages and stack traces: a failure too large for Temporal never arrives, and its run stays open."""

    def _error_to_failure(
        self, error: FailureError, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        super()._error_to_failure(error, payload_converter, failure)
        if len(failure.message) > _SHOWN_CHARACTERS:
            left_out = len(failure.message) - _SHOWN_CHARACTERS
            failure.message = f"{failure.message[:_SHOWN_CHARACTERS]}... ({left_out} characters left out)"
        failure.stack_trace = failure.stack_trace[-_SHOWN_CHARACTERS:]


class HiddenFailureConverter(BoundedFailureConverter):
    """Also moves both to where the codec encodes them."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)


def make_data_converter(
    *, codec: PayloadCodec | None = None, storage: StorageDriver | None = None
) -> DataConverter:
    """The data converter of every Holdfast client and worker.

    Args:
        codec: Compression or encryption, see `HoldfastCodec`. With one, failure messages and stack traces are
            encoded as well, unless it says `encrypts = False`.
        storage: Where payloads of 32 KiB and more go, see `open_storage`. `None` keeps all of them inline.
    """
    hide_failures = codec is not None and getattr(codec, "encrypts", True)
    return DataConverter(
        payload_converter_class=HoldfastPayloadConverter,
        payload_codec=codec,
        failure_converter_class=HiddenFailureConverter if hide_failures else BoundedFailureConverter,
        external_storage=(
            ExternalStorage(drivers=[storage], payload_size_threshold=CLAIM_CHECK_BYTES) if storage else None
        ),
    )
