"""Compression and encryption of payloads.

What is encoded is the whole payload, its metadata included. An encoded payload says in its own metadata how
to decode it, so readers need no configuration but the keys, and payloads from before a setting was turned on
stay readable.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from holdfast.engine.data.keys import KeyRing
from holdfast.errors import InvalidConfiguration, Unavailable

COMPRESSED = b"binary/holdfast-zstd"
ENCRYPTED = b"binary/holdfast-aes256gcm"
KEY_ID = "encryption-key-id"

MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024
"""What a compressed payload may have at most; more is a decompression bomb."""

_MIN_COMPRESSED_BYTES = 256
_THREAD_BYTES = 256 * 1024
_NONCE_BYTES = 12
_LEVEL = 3


class HoldfastCodec(PayloadCodec):
    """Compresses with zstd where that shrinks a payload, then encrypts with AES-256-GCM.

    Args:
        compress: Whether to compress (needs the extra `compression`, as reading compressed payloads does).
        keys: The keys to encrypt and decrypt with (needs the extra `encryption`). `None` does not encrypt.

    Raises:
        InvalidConfiguration: An extra is missing.
    """

    def __init__(self, *, compress: bool = False, keys: KeyRing | None = None) -> None:
        self._compress = compress
        self._keys = keys
        if compress:
            _zstandard()
        self._ciphers = {key_id: _aes_gcm(key) for key_id, key in keys.items()} if keys else {}

    @property
    def encrypts(self) -> bool:
        """Whether payloads are encrypted, and so failure messages must be as well."""
        return self._keys is not None

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encode payloads."""
        return [await _off_loop(self._encode, payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode payloads; one that no codec of ours has encoded is returned as it is.

        Raises:
            Unavailable: The key is not here, or the payload was altered. A workflow task that fails so is
                tried again, so the run goes on when the key is added.
        """
        return [await _off_loop(self._decode, payload) for payload in payloads]

    def _encode(self, payload: Payload) -> Payload:
        if self._compress:
            payload = _compressed(payload)
        return self._encrypted(payload, self._keys) if self._keys else payload

    def _decode(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") == ENCRYPTED:
            payload = self._decrypted(payload)
        if payload.metadata.get("encoding") == COMPRESSED:
            payload = _decompressed(payload)
        return payload

    def _encrypted(self, payload: Payload, keys: KeyRing) -> Payload:
        nonce = os.urandom(_NONCE_BYTES)
        key_id = keys.first
        sealed: bytes = self._ciphers[key_id].encrypt(nonce, payload.SerializeToString(), _bound(key_id))
        return Payload(metadata={"encoding": ENCRYPTED, KEY_ID: key_id.encode()}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"").decode(errors="replace")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise Unavailable(
                f"A payload is encrypted with key {key_id!r}, which this process does not have "
                f"(it has: {', '.join(self._ciphers) or 'none'}). Add it to HOLDFAST_ENCRYPTION_KEYS.",
                key_id=key_id,
            )
        try:
            opened: bytes = cipher.decrypt(
                payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:], _bound(key_id)
            )
            return Payload.FromString(opened)
        except (_invalid_tag(), ValueError, DecodeError) as error:
            raise Unavailable(
                f"A payload does not decrypt with key {key_id!r}: it was altered, or another key has that id "
                "here.",
                key_id=key_id,
            ) from error


async def _off_loop(work: Callable[[Payload], Payload], payload: Payload) -> Payload:
    if len(payload.data) > _THREAD_BYTES:
        return await asyncio.to_thread(work, payload)
    return work(payload)


def _bound(key_id: str) -> bytes:
    """The data that GCM authenticates beside the content: none can be exchanged."""
    return ENCRYPTED + b"\n" + key_id.encode()


def _compressed(payload: Payload) -> Payload:
    if len(payload.data) < _MIN_COMPRESSED_BYTES:
        return payload
    data: bytes = _zstandard().ZstdCompressor(level=_LEVEL).compress(payload.SerializeToString())
    smaller = Payload(metadata={"encoding": COMPRESSED}, data=data)
    return smaller if smaller.ByteSize() < payload.ByteSize() else payload


def _decompressed(payload: Payload) -> Payload:
    zstandard = _zstandard()
    try:
        size_bytes: int = zstandard.frame_content_size(payload.data)
        if not 0 <= size_bytes <= MAX_DECOMPRESSED_BYTES:
            raise Unavailable(
                f"A compressed payload declares {size_bytes} bytes, and at most {MAX_DECOMPRESSED_BYTES} are "
                "unpacked."
            )
        data: bytes = zstandard.ZstdDecompressor().decompress(payload.data, allow_extra_data=False)
        return Payload.FromString(data)
    except (zstandard.ZstdError, DecodeError) as error:
        raise Unavailable(f"A compressed payload is damaged: {error}") from error


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise InvalidConfiguration(
            "Compressed payloads need zstandard: pip install 'holdfast[compression]'"
        ) from error


def _aes_gcm(key: bytes) -> Any:
    try:
        aead: Any = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead")
    except ImportError as error:
        raise InvalidConfiguration(
            "Encryption needs cryptography: pip install 'holdfast[encryption]'"
        ) from error
    return aead.AESGCM(key)


def _invalid_tag() -> type[Exception]:
    found: type[Exception] = importlib.import_module("cryptography.exceptions").InvalidTag
    return found
