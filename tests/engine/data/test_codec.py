from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from holdfast.engine.data import codec as codec_module
from holdfast.engine.data.blobs import open_storage
from holdfast.engine.data.codec import COMPRESSED, ENCRYPTED, KEY_ID, HoldfastCodec
from holdfast.engine.data.keys import KeyRing
from holdfast.errors import InvalidConfiguration, Unavailable

OLD, NEW = KeyRing.generate("old"), KeyRing.generate("new")
TEXT = Payload(metadata={"encoding": b"json/plain"}, data=b'"' + b"holdfast " * 500 + b'"')
CODECS = [
    HoldfastCodec(),
    HoldfastCodec(compress=True),
    HoldfastCodec(keys=KeyRing.parse(OLD)),
    HoldfastCodec(compress=True, keys=KeyRing.parse(OLD)),
]


@given(
    st.sampled_from(CODECS),
    st.dictionaries(st.text(st.characters(codec="ascii")), st.binary(max_size=20), max_size=3),
    st.binary(max_size=2000) | st.binary(max_size=50).map(lambda part: part * 100),
)
def test_any_payload_survives(codec: HoldfastCodec, metadata: dict[str, bytes], data: bytes) -> None:
    async def round_trip() -> list[Payload]:
        return await codec.decode(await codec.encode([payload]))

    payload = Payload(metadata=metadata, data=data)
    assert asyncio.run(round_trip()) == [payload]


async def test_payloads_of_any_size_survive() -> None:
    for codec in CODECS:
        for data in (b"", b"x", os.urandom(5000), b"y" * 5000, os.urandom(300_000), b"z" * 300_000):
            payload = Payload(metadata={"encoding": b"json/plain", "other": b"\x00"}, data=data)
            assert await codec.decode(await codec.encode([payload])) == [payload]


async def test_without_options_a_payload_stays_plain() -> None:
    assert await HoldfastCodec().encode([TEXT]) == [TEXT]


async def test_compression_applies_only_where_it_shrinks() -> None:
    codec = HoldfastCodec(compress=True)
    noise = Payload(metadata=TEXT.metadata, data=os.urandom(4000))
    small = Payload(metadata=TEXT.metadata, data=b"a" * 100)
    [text, same_noise, same_small] = await codec.encode([TEXT, noise, small])
    assert text.metadata["encoding"] == COMPRESSED
    assert text.ByteSize() < TEXT.ByteSize() / 10
    assert (same_noise, same_small) == (noise, small)


async def test_encryption_hides_content_and_metadata_and_names_the_key() -> None:
    [sealed] = await HoldfastCodec(keys=KeyRing.parse(OLD)).encode([TEXT])
    assert dict(sealed.metadata) == {"encoding": ENCRYPTED, KEY_ID: b"old"}
    assert b"holdfast holdfast" not in sealed.data
    assert b"json/plain" not in sealed.data


async def test_the_same_payload_never_looks_the_same_twice() -> None:
    sealed = await HoldfastCodec(keys=KeyRing.parse(OLD)).encode([TEXT, TEXT])
    assert sealed[0].data != sealed[1].data


async def test_rotation_reads_the_old_and_writes_the_new() -> None:
    [before] = await HoldfastCodec(keys=KeyRing.parse(OLD)).encode([TEXT])
    rotated = HoldfastCodec(keys=KeyRing.parse(f"{NEW},{OLD}"))
    assert await rotated.decode([before]) == [TEXT]
    [after] = await rotated.encode([TEXT])
    assert after.metadata[KEY_ID] == b"new"


async def test_an_unknown_key_is_named_and_can_be_added_later() -> None:
    [sealed] = await HoldfastCodec(keys=KeyRing.parse(OLD)).encode([TEXT])
    for codec in (HoldfastCodec(keys=KeyRing.parse(NEW)), HoldfastCodec()):
        with pytest.raises(Unavailable, match="'old'"):
            await codec.decode([sealed])


async def test_altered_ciphertext_is_refused() -> None:
    codec = HoldfastCodec(keys=KeyRing.parse(f"{OLD},{NEW}"))
    [sealed] = await codec.encode([TEXT])
    for position in (0, 11, 12, len(sealed.data) // 2, len(sealed.data) - 1):
        altered = bytearray(sealed.data)
        altered[position] ^= 1
        with pytest.raises(Unavailable, match="altered"):
            await codec.decode([Payload(metadata=sealed.metadata, data=bytes(altered))])
    for data in (b"", sealed.data[:12], sealed.data[:-1]):
        with pytest.raises(Unavailable, match="altered"):
            await codec.decode([Payload(metadata=sealed.metadata, data=data)])


async def test_ciphertext_cannot_pass_under_another_key_id() -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    codec = HoldfastCodec(keys=KeyRing.parse(f"a:{key},b:{key}"))
    [sealed] = await codec.encode([TEXT])
    with pytest.raises(Unavailable, match="'b'"):
        await codec.decode([Payload(metadata={"encoding": ENCRYPTED, KEY_ID: b"b"}, data=sealed.data)])


async def test_a_decompression_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_module, "MAX_DECOMPRESSED_BYTES", 10_000)
    stream = zstandard.ZstdCompressor().compressobj()  # a frame that does not declare its size
    unsized = stream.compress(b"x" * 100_000) + stream.flush()
    sized = zstandard.ZstdCompressor().compress(b"x" * 100_000)
    for bomb in (sized, unsized):
        with pytest.raises(Unavailable, match="at most 10000"):
            await HoldfastCodec().decode([Payload(metadata={"encoding": COMPRESSED}, data=bomb)])


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", zstandard.ZstdCompressor().compress(b"\xff\xff no proto")]
)
async def test_damaged_compression_is_refused(data: bytes) -> None:
    with pytest.raises(Unavailable, match="damaged"):
        await HoldfastCodec().decode([Payload(metadata={"encoding": COMPRESSED}, data=data)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "at least one"),
        ("nocolon", "number 1 is not of the form"),
        ("a:not base64!", "'a' is not valid base64"),
        ("a:c2hvcnQ=", "'a' has 5 bytes"),
        (f"{OLD},{OLD}", "'old' appears twice"),
        (f"bad id:{OLD.partition(':')[2]}", "'bad id'"),
    ],
    ids=["empty", "no colon", "not base64", "short", "twice", "bad id"],
)
def test_a_malformed_key_ring_is_explained(text: str, reason: str) -> None:
    with pytest.raises(InvalidConfiguration, match=reason):
        KeyRing.parse(text)


def test_keys_are_never_shown() -> None:
    ring = KeyRing.parse(f"{NEW},{OLD}")
    assert repr(ring) == "KeyRing(new, old)"
    key = OLD.partition(":")[2]
    with pytest.raises(InvalidConfiguration) as caught:
        KeyRing.parse(f"{key}x")
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "extra", "use"),
    [
        ("zstandard", "compression", lambda: HoldfastCodec(compress=True)),
        (
            "cryptography.hazmat.primitives.ciphers.aead",
            "encryption",
            lambda: HoldfastCodec(keys=KeyRing.parse(OLD)),
        ),
        ("boto3", "s3", lambda: open_storage("s3://bucket")),
    ],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str, use: Callable[[], object]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidConfiguration, match=rf"holdfast\[{extra}\]"):
        use()
