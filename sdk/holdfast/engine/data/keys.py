"""The keys that encrypt payloads, with ids so that they can be rotated."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import ItemsView, Mapping

from holdfast.errors import InvalidConfiguration

KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class KeyRing:
    """AES-256 keys by id. The first encrypts, all decrypt.

    To rotate, put a new key first and keep the old ones for as long as histories encrypted with them exist.

    Args:
        keys: Ids of up to 64 characters of `[A-Za-z0-9._-]`, and keys of 32 bytes.

    Raises:
        InvalidConfiguration: There is no key, or an id or a key is malformed. The message never shows a key.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise InvalidConfiguration("A key ring needs at least one key.")
        for key_id, key in keys.items():
            if not _KEY_ID.fullmatch(key_id):
                raise InvalidConfiguration(
                    f"Key id {key_id[:64]!r} must be 1 to 64 characters of [A-Za-z0-9._-]."
                )
            if len(key) != KEY_BYTES:
                raise InvalidConfiguration(f"Key {key_id!r} has {len(key)} bytes, AES-256 needs {KEY_BYTES}.")
        self._keys = dict(keys)

    @property
    def first(self) -> str:
        """The id of the key that encrypts."""
        return next(iter(self._keys))

    def items(self) -> ItemsView[str, bytes]:
        """Ids and keys, the encrypting one first."""
        return self._keys.items()

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Read `id:base64key[,id:base64key...]`, the form of `HOLDFAST_ENCRYPTION_KEYS`.

        Raises:
            InvalidConfiguration: The text has another form.
        """
        keys: dict[str, bytes] = {}
        for number, entry in enumerate((part.strip() for part in text.split(",") if part.strip()), start=1):
            key_id, colon, encoded = entry.partition(":")
            if not colon:
                raise InvalidConfiguration(f"Encryption key number {number} is not of the form id:base64key.")
            if key_id in keys:
                raise InvalidConfiguration(f"Encryption key id {key_id!r} appears twice.")
            try:
                keys[key_id] = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                raise InvalidConfiguration(f"Encryption key {key_id!r} is not valid base64.") from None
        return cls(keys)

    @classmethod
    def generate(cls, key_id: str) -> str:
        """A new random key in the form that `parse` reads."""
        return f"{key_id}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"
