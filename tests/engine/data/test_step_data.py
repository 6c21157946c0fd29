from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter
from temporalio.api.common.v1 import Payload

from holdfast.engine.data.blobs import DirectoryStorage
from holdfast.engine.data.codec import HoldfastCodec
from holdfast.engine.data.converter import make_data_converter
from holdfast.engine.data.in_workflow import decode_in_workflow, encode_argument
from holdfast.engine.data.keys import KeyRing
from holdfast.engine.data.refs import Ref, genuine_refs
from holdfast.engine.data.step_data import LIMIT_BYTES, REF_BYTES, StepData
from holdfast.errors import InvalidInput, PayloadTooLarge, Unavailable

CONVERTER = make_data_converter().payload_converter
TEXT = TypeAdapter(str)
TEXTS = TypeAdapter(list[str])
LARGE = "a" * (REF_BYTES + 1)


class Pair(BaseModel):
    lazy: Ref[str]
    eager: str


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path)


@pytest.fixture
def data(storage: DirectoryStorage) -> StepData:
    return StepData(make_data_converter(storage=storage))


async def large_ref(data: StepData, value: str = LARGE) -> Ref[str]:
    payload = await data.encode_result(value, TEXT, step="load")
    assert payload.ByteSize() < 1000
    ref = decode_in_workflow(payload, TEXT, CONVERTER)
    assert isinstance(ref, Ref)
    return ref


async def test_a_result_up_to_4_mib_travels_as_it_is(data: StepData, storage: DirectoryStorage) -> None:
    payload = await data.encode_result("a" * (REF_BYTES - 2), TEXT, step="load")
    assert len(payload.data) == REF_BYTES
    assert list(storage.blobs()) == []


async def test_a_larger_result_is_a_ref_that_the_next_step_reads(data: StepData) -> None:
    ref = await large_ref(data)
    assert ref.size_bytes == len(LARGE) + 2
    assert ref.step == "load"
    argument = encode_argument(ref, CONVERTER, TEXT)
    assert await data.decode(argument, TEXT) == LARGE
    lazy = await data.decode(argument, TypeAdapter(Ref[str]))
    assert lazy == ref
    assert await lazy.load() == LARGE


async def test_bytes_travel_as_a_ref_too(data: StepData) -> None:
    value = b"\xff" * (REF_BYTES + 1)
    payload = await data.encode_result(value, TypeAdapter(bytes), step="load")
    assert await data.decode(payload, TypeAdapter(bytes)) == value
    inside = encode_argument([decode_in_workflow(payload, TypeAdapter(bytes), CONVERTER)], CONVERTER)
    with pytest.raises(InvalidInput, match=r"Ref\[bytes\]"):
        await data.decode(inside, TypeAdapter(list[bytes]), where="Argument 'x'")
    [lazy] = await data.decode(inside, TypeAdapter(list[Ref[bytes]]))
    assert await lazy.load() == value


async def test_refs_inside_containers_and_models_are_read(data: StepData) -> None:
    ref = await large_ref(data)
    other = await large_ref(data, "b" * len(LARGE))
    argument = encode_argument([ref, "small", other, ref], CONVERTER, TEXTS)
    assert await data.decode(argument, TEXTS) == [LARGE, "small", "b" * len(LARGE), LARGE]
    nested = encode_argument({"x": [{"y": ref}]}, CONVERTER)
    assert await data.decode(nested, TypeAdapter(Any)) == {"x": [{"y": LARGE}]}


async def test_a_ref_stays_one_exactly_where_the_type_says_so(data: StepData) -> None:
    ref = await large_ref(data)
    argument = encode_argument({"lazy": ref, "eager": ref}, CONVERTER)
    pair = await data.decode(argument, TypeAdapter(Pair))
    assert (pair.lazy, pair.eager) == (ref, LARGE)
    assert await pair.lazy.load() == LARGE


async def test_a_result_that_holds_refs_can_be_a_ref_itself(data: StepData) -> None:
    ref = await large_ref(data)
    payload = await data.encode_result([ref, LARGE], TEXTS, step="join")
    assert payload.ByteSize() < 1000
    assert genuine_refs(payload) != {ref.sha256}
    assert await data.decode(payload, TEXTS) == [LARGE, LARGE]
    first, second = await data.decode(payload, TypeAdapter(list[Ref[str]]))
    assert (await first.load(), await second.load()) == (LARGE, LARGE)


async def test_a_forged_marker_reads_no_blob(data: StepData, storage: DirectoryStorage) -> None:
    secret = storage.put(Payload(metadata={"encoding": b"json/plain"}, data=b'"secret"'))
    forged = {"$holdfast_ref": secret, "size_bytes": 8, "step": "load"}
    for value in (forged, [forged], {"a": forged}):
        assert await data.decode(encode_argument(value, CONVERTER), TypeAdapter(Any)) == value
        result = await data.encode_result(value, TypeAdapter(Any), step="http")
        assert await data.decode(result, TypeAdapter(Any)) == value
    ref = await large_ref(data)
    beside = encode_argument([ref, forged], CONVERTER)
    assert await data.decode(beside, TypeAdapter(Any)) == [LARGE, forged]
    with pytest.raises(InvalidInput, match="written by hand"):
        await data.decode(encode_argument(forged, CONVERTER), TypeAdapter(Ref[str]))
    stored = await data.encode_result([forged, LARGE], TypeAdapter(Any), step="http")
    assert await data.decode(stored, TypeAdapter(Any)) == [forged, LARGE]


async def test_over_50_mib_is_refused_and_names_step_and_size(data: StepData) -> None:
    with pytest.raises(PayloadTooLarge, match=r"step 'load' has 50\.0 MiB"):
        await data.encode_result("a" * LIMIT_BYTES, TEXT, step="load")


async def test_refs_together_over_50_mib_are_refused_unless_taken_as_refs(data: StepData) -> None:
    ref = await large_ref(data)
    argument = encode_argument([ref] * 13, CONVERTER)
    with pytest.raises(PayloadTooLarge, match=r"Argument 'parts' has 52\.\d MiB.*list\[Ref"):
        await data.decode(argument, TEXTS, where="Argument 'parts'")
    assert len(await data.decode(argument, TypeAdapter(list[Ref[str]]))) == 13


async def test_without_a_storage_2_mib_is_the_limit() -> None:
    data = StepData(make_data_converter())
    await data.encode_result("a" * (2 * 1024 * 1024 - 100), TEXT, step="load")
    with pytest.raises(PayloadTooLarge, match=r"'load'.*HOLDFAST_STORAGE"):
        await data.encode_result("a" * 2 * 1024 * 1024, TEXT, step="load")
    compressing = StepData(make_data_converter(codec=HoldfastCodec(compress=True)))
    await compressing.encode_result(LARGE, TEXT, step="load")


async def test_a_ref_is_encrypted_and_waits_for_its_key(storage: DirectoryStorage) -> None:
    codec = HoldfastCodec(compress=True, keys=KeyRing.parse(KeyRing.generate("k1")))
    data = StepData(make_data_converter(codec=codec, storage=storage))
    ref = await large_ref(data)
    [(sha256, _)] = storage.blobs()
    assert b"aaaa" not in storage.blob_path(sha256).read_bytes()
    argument = encode_argument(ref, CONVERTER)
    assert await data.decode(argument, TEXT) == LARGE
    for other in (None, HoldfastCodec(keys=KeyRing.parse(KeyRing.generate("k2")))):
        codec_here = other or HoldfastCodec()
        with pytest.raises(Unavailable, match="'k1'"):
            await StepData(make_data_converter(codec=codec_here, storage=storage)).decode(argument, TEXT)


async def test_a_missing_blob_or_storage_is_named(data: StepData, storage: DirectoryStorage) -> None:
    ref = await large_ref(data)
    argument = encode_argument(ref, CONVERTER)
    with pytest.raises(Unavailable, match="HOLDFAST_STORAGE"):
        await StepData(make_data_converter()).decode(argument, TEXT)
    storage.blob_path(ref.sha256).unlink()
    with pytest.raises(Unavailable, match=ref.sha256):
        await data.decode(argument, TEXT)


async def test_a_misfit_names_argument_path_and_value(data: StepData) -> None:
    ref = await large_ref(data)
    with pytest.raises(InvalidInput, match=r"Argument 'n'.*\[1\].*integer.*'aaa"):
        await data.decode(
            encode_argument([1, ref], CONVERTER), TypeAdapter(list[int]), where="Argument 'n' of step 'sum'"
        )
    with pytest.raises(InvalidInput, match="The result of step 'load' of type object"):
        await data.encode_result(object(), TypeAdapter(Any), step="load")


async def test_a_large_argument_of_a_client_is_a_ref_too(data: StepData) -> None:
    payload = await data.encode_input(LARGE, TEXT, where="Argument 'text'")
    ref = decode_in_workflow(payload, TEXT, CONVERTER)
    assert isinstance(ref, Ref)
    assert await data.decode(encode_argument(ref, CONVERTER), TEXT) == LARGE
    with pytest.raises(PayloadTooLarge, match="Argument 'text'"):
        await data.encode_input("a" * LIMIT_BYTES, TEXT, where="Argument 'text'")
