from __future__ import annotations

import asyncio
import dataclasses
import math
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, computed_field
from temporalio.api.common.v1 import Payload, WorkflowExecution

from holdfast.engine.data.codec import HoldfastCodec
from holdfast.engine.data.converter import HiddenFailureConverter, make_data_converter
from holdfast.engine.data.keys import KeyRing
from holdfast.engine.data.values import from_payload, to_payload
from holdfast.errors import InvalidInput

CONVERTER = make_data_converter().payload_converter
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class Colour(StrEnum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: uuid.UUID
    at: datetime
    lead: timedelta
    price: Decimal
    colour: Colour
    where: Point
    tags: set[str] = Field(default_factory=set, alias="orderTags")

    @computed_field
    def double(self) -> Decimal:
        return self.price * 2


def round_trip(value: Any, kind: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return from_payload(to_payload(value, adapter, CONVERTER), adapter, CONVERTER)


@given(JSON)
def test_json_values_survive_untyped(value: object) -> None:
    [payload] = CONVERTER.to_payloads([value])
    assert CONVERTER.from_payloads([payload]) == [value]
    assert round_trip(value, Any) == value


@given(
    st.builds(
        Order,
        id=st.uuids(),
        at=st.datetimes(timezones=st.just(UTC)),
        lead=st.timedeltas(min_value=timedelta(-9999), max_value=timedelta(9999)),
        price=st.decimals(allow_nan=False, allow_infinity=False),
        colour=st.sampled_from(Colour),
        where=st.builds(Point, x=st.integers(), y=st.integers()),
        orderTags=st.sets(st.text()),
    )
)
def test_models_survive_with_aliases_and_computed_fields(order: Order) -> None:
    assert round_trip(order, Order) == order
    assert round_trip([order], list[Order]) == [order]


@given(st.binary())
def test_bytes_stay_bytes(data: bytes) -> None:
    payload = to_payload(data, TypeAdapter(bytes), CONVERTER)
    assert payload.metadata["encoding"] == b"binary/plain"
    assert round_trip(data, bytes) == data


def test_inline_values_are_json_any_sdk_reads() -> None:
    payload = to_payload(Point(1, 2), TypeAdapter(Point), CONVERTER)
    assert dict(payload.metadata) == {"encoding": b"json/plain"}
    assert payload.data == b'{"x":1,"y":2}'


def test_none_and_protobuf_are_kept() -> None:
    assert to_payload(None, TypeAdapter(None), CONVERTER).metadata["encoding"] == b"binary/null"
    execution = WorkflowExecution(workflow_id="a")
    [payload] = CONVERTER.to_payloads([execution])
    assert payload.metadata["encoding"] == b"json/protobuf"
    assert CONVERTER.from_payloads([payload], [WorkflowExecution]) == [execution]


@pytest.mark.parametrize("value", [math.nan, math.inf, [math.nan], {"a": -math.inf}, Point(math.nan, 1)])  # type: ignore[arg-type]
def test_what_json_has_not_becomes_null(value: object) -> None:
    [payload] = CONVERTER.to_payloads([value])
    assert b"null" in payload.data
    assert b"NaN" not in payload.data
    assert b"Infinity" not in payload.data


def test_a_null_that_was_a_nan_says_so() -> None:
    [payload] = CONVERTER.to_payloads([[1.0, math.nan]])
    with pytest.raises(InvalidInput, match=r"\[1\].*valid number.*NaN and infinity become null"):
        from_payload(payload, TypeAdapter(list[float]), CONVERTER)


@pytest.mark.parametrize("value", [object(), [lambda: 1], {"a": open}])
def test_an_unserialisable_value_names_its_type(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"object|function|builtin"):
        CONVERTER.to_payloads([value])
    with pytest.raises(InvalidInput, match="The result of step 'x'"):
        to_payload(value, TypeAdapter(Any), CONVERTER, where="The result of step 'x'")


def test_binary_inside_json_names_the_fix() -> None:
    with pytest.raises(InvalidInput, match="Base64Bytes"):
        CONVERTER.to_payloads([[b"\xff"]])


def test_a_cycle_and_a_lone_surrogate_are_refused() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    for value in (cycle, "\ud800"):
        with pytest.raises(InvalidInput):
            CONVERTER.to_payloads([value])


def test_a_dict_may_stand_for_a_model_if_it_fits() -> None:
    adapter = TypeAdapter(Point)
    payload = to_payload({"x": 1, "y": 2}, adapter, CONVERTER)
    assert from_payload(payload, adapter, CONVERTER) == Point(1, 2)
    with pytest.raises(InvalidInput, match=r"y: Field required"):
        to_payload({"x": 1}, adapter, CONVERTER)
    with pytest.raises(InvalidInput, match="None"):
        to_payload(None, adapter, CONVERTER)


def test_a_misfit_names_path_and_value() -> None:
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b'[{"x":1,"y":"seven"}]')
    with pytest.raises(InvalidInput, match=r"Argument 'p'.*\[0\]\.y: .*integer.*'seven'"):
        from_payload(payload, TypeAdapter(list[Point]), CONVERTER, where="Argument 'p'")


@pytest.mark.parametrize("encoding", ["binary/unknown", "", "json/protobuf"])
def test_an_unknown_encoding_is_named(encoding: str) -> None:
    payload = Payload(metadata={"encoding": encoding.encode()}, data=b"x")
    with pytest.raises(InvalidInput, match=f"encoding '{encoding}'"):
        from_payload(payload, TypeAdapter(Any), CONVERTER)


def test_failures_are_hidden_with_encryption_only() -> None:
    ring = KeyRing.parse(KeyRing.generate("k"))
    hidden = make_data_converter(codec=HoldfastCodec(keys=ring))
    assert hidden.failure_converter_class is HiddenFailureConverter
    shown = make_data_converter(codec=HoldfastCodec(compress=True))
    assert shown.failure_converter_class is not HiddenFailureConverter


def test_an_encrypted_failure_shows_neither_message_nor_stack() -> None:
    async def encode() -> bytes:
        from temporalio.api.failure.v1 import Failure

        converter = make_data_converter(codec=HoldfastCodec(keys=KeyRing.parse(KeyRing.generate("k"))))
        failure = Failure()
        try:
            raise ValueError("the secret message")
        except ValueError as error:
            await converter.encode_failure(error, failure)
        text = failure.SerializeToString()
        assert "the secret message" in str(await converter.decode_failure(failure))
        return text

    text = asyncio.run(encode())
    assert b"secret" not in text
    assert b"test_converter" not in text
