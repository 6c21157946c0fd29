from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from holdfast.engine.data.converter import make_data_converter
from holdfast.engine.data.in_workflow import decode_in_workflow, encode_argument
from holdfast.engine.data.refs import METADATA_KEY, Ref, genuine_refs
from holdfast.engine.data.values import from_payload
from holdfast.errors import InvalidInput

CONVERTER = make_data_converter().payload_converter
REF: Ref[list[int]] = Ref("a" * 64, 45_000_000, step="load")


class Job(BaseModel):
    rows: Ref[list[int]]
    name: str = ""


@pytest.mark.parametrize(
    "use",
    [
        lambda ref: len(ref),
        lambda ref: list(ref),
        lambda ref: ref[0],
        lambda ref: ref["key"],
        lambda ref: ref.total,
        lambda ref: 1 in ref,
        lambda ref: ref(),
        lambda ref: ref + "x",
    ],
)
def test_use_as_the_value_is_a_type_error(use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        use(REF)


def test_the_error_says_why_it_is_a_ref_and_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"step 'load', 45\.0 MB.*`\.total`.*4 MiB.*Pass it to a step"):
        REF.total  # type: ignore[attr-defined]  # noqa: B018


def test_a_ref_behaves_as_a_frozen_value() -> None:
    assert copy.deepcopy(REF) == REF == pickle.loads(pickle.dumps(REF))
    assert len({REF, copy.copy(REF)}) == 1
    assert Ref("b" * 64, 1) != REF
    assert not hasattr(REF, "total")
    assert REF
    assert REF.size_bytes == 45_000_000
    with pytest.raises(AttributeError):
        REF.step = "x"


@pytest.mark.parametrize(
    "value", [REF, [REF, 1], {"a": {"b": REF}}, Job(rows=REF), [Job(rows=REF)], (REF, REF)], ids=str
)
def test_the_payload_vouches_for_every_ref_in_it(value: object) -> None:
    payload = encode_argument(value, CONVERTER)
    assert genuine_refs(payload) == {REF.sha256}
    assert payload == CONVERTER.to_payloads([value])[0]


def test_a_payload_without_refs_carries_no_mark() -> None:
    assert dict(encode_argument([1, 2], CONVERTER).metadata) == {"encoding": b"json/plain"}


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (REF, list[int], REF),
        (REF, Ref[list[int]], REF),
        ([REF, [1]], list[list[int]], [REF, [1]]),
        ((REF, 1), tuple[list[int], int], (REF, 1)),
        ((REF, REF), tuple[list[int], ...], (REF, REF)),
        ({"a": REF, "b": [2]}, dict[str, list[int]], {"a": REF, "b": [2]}),
        ({"a": [REF]}, dict[str, list[list[int]]] | None, {"a": [REF]}),
        ([REF, 5], Any, [REF, 5]),
        (Job(rows=REF), Job, Job(rows=REF)),
        ([Job(rows=REF, name="n")], list[Job], [Job(rows=REF, name="n")]),
    ],
    ids=str,
)
def test_workflow_code_gets_the_refs_where_the_values_would_be(
    value: object, kind: Any, expected: object
) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    payload = encode_argument(value, CONVERTER, adapter)
    assert decode_in_workflow(payload, adapter, CONVERTER) == expected


def test_members_beside_a_ref_are_still_checked() -> None:
    payload = encode_argument([REF, ["x"]], CONVERTER)
    with pytest.raises(InvalidInput, match="'x'"):
        decode_in_workflow(payload, TypeAdapter(list[list[int]]), CONVERTER)


def test_a_ref_in_a_field_of_another_type_names_the_fix() -> None:
    class Plain(BaseModel):
        rows: list[int]

    payload = encode_argument({"rows": REF}, CONVERTER)
    with pytest.raises(InvalidInput, match=r"inside a Plain.*`Ref\[\.\.\.\]`"):
        decode_in_workflow(payload, TypeAdapter(Plain), CONVERTER)


def test_a_forged_marker_is_an_ordinary_object() -> None:
    forged = {"rows": {"$holdfast_ref": "b" * 64, "size_bytes": 5, "step": "load"}}
    payload = encode_argument(forged, CONVERTER)
    assert METADATA_KEY not in payload.metadata
    assert decode_in_workflow(payload, TypeAdapter(Any), CONVERTER) == forged
    with pytest.raises(InvalidInput, match="can only come from a step's result"):
        decode_in_workflow(payload, TypeAdapter(Job), CONVERTER)


def test_a_forged_marker_beside_a_genuine_ref_is_not_trusted() -> None:
    forged = {"$holdfast_ref": "b" * 64, "size_bytes": 5, "step": "load"}
    payload = encode_argument([REF, forged], CONVERTER)
    assert genuine_refs(payload) == {REF.sha256}
    assert decode_in_workflow(payload, TypeAdapter(Any), CONVERTER) == [REF, forged]
    with pytest.raises(InvalidInput):
        decode_in_workflow(payload, TypeAdapter(list[list[int]]), CONVERTER)


async def test_a_small_value_fits_a_ref_parameter() -> None:
    ref = from_payload(encode_argument([1, 2, 3], CONVERTER), TypeAdapter(Ref[list[int]]), CONVERTER)
    assert isinstance(ref, Ref)
    assert await ref.load() == [1, 2, 3]
    assert ref.size_bytes == len("[1,2,3]")
    assert await pickle.loads(pickle.dumps(ref)).load() == [1, 2, 3]
    payload = encode_argument(ref, CONVERTER)
    assert payload == encode_argument([1, 2, 3], CONVERTER)
    with pytest.raises(InvalidInput, match="integer"):
        from_payload(encode_argument(["x"], CONVERTER), TypeAdapter(Ref[list[int]]), CONVERTER)


async def test_a_ref_from_nowhere_cannot_be_loaded() -> None:
    with pytest.raises(InvalidInput, match="not connected to a storage"):
        await REF.load()


def test_its_json_schema_is_that_of_the_value() -> None:
    assert TypeAdapter(Ref[list[int]]).json_schema() == TypeAdapter(list[int]).json_schema()
