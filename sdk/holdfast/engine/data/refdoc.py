"""A JSON document with Refs in it: which stay, and how the others are filled in."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json
from temporalio.api.common.v1 import Payload

from holdfast.engine.data.refs import (
    CONTEXT_KEY,
    MARKER_KEY,
    ORDINAL_KEY,
    Ref,
    RefContext,
    from_marker,
    genuine_refs,
    is_marker,
    list_refs,
    markers,
)
from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_MARKER_BYTES = 4096


def root_ref(payload: Payload, allowed: frozenset[str]) -> Ref[Any] | None:
    """The Ref that a payload is as a whole, if it is one."""
    if not allowed or len(payload.data) > _MARKER_BYTES:
        return None
    tree = from_json(payload.data)
    return from_marker(tree) if is_marker(tree) and tree[MARKER_KEY] in allowed else None


class RefDocument:
    """The genuine markers of one payload, each with its ordinal.

    Args:
        payload: A `json/plain` payload.
        allowed: The hashes its metadata vouches for.
    """

    def __init__(self, payload: Payload, allowed: frozenset[str]) -> None:
        self.tree: Any = from_json(payload.data)
        self._kept: list[dict[str, Any]] = []
        self._open: dict[int, dict[str, Any]] = {}
        for ordinal, marker in enumerate(markers(self.tree, allowed)):
            marker[ORDINAL_KEY] = ordinal
            self._open[ordinal] = marker

    @property
    def open_hashes(self) -> list[str]:
        """The blobs needed to fill this document, each once."""
        return list(dict.fromkeys(marker[MARKER_KEY] for marker in self._open.values()))

    @property
    def open_bytes(self) -> int:
        """How many bytes filling will add, as the markers say."""
        return sum(from_marker(marker).size_bytes for marker in self._open.values())

    def keep_typed(self, adapter: TypeAdapter[Any], context: RefContext) -> None:
        """Leave the markers that stand where the type says `Ref[...]`.

        The type itself finds them: a trial validation notes every marker that a `Ref[...]` takes.
        """
        trial = to_json(self.tree)
        with suppress(Exception):  # a user's validators may meet a marker where they expect a value
            adapter.validate_json(trial, by_alias=True, by_name=True, context={CONTEXT_KEY: context})
        for ordinal in context.taken:
            if marker := self._open.pop(ordinal, None):
                self._kept.append(marker)

    def filled(self, blobs: Mapping[str, Payload], where: str) -> Payload:
        """The document with its open markers replaced by the blobs.

        Raises:
            InvalidInput: A blob is not JSON and so cannot stand inside JSON.
        """
        slot = f"slot-{secrets.token_hex(16)}"
        hashes: list[str] = []
        for marker in self._open.values():
            hashes.append(marker[MARKER_KEY])
            marker.clear()
            marker[slot] = len(hashes) - 1
        for marker in self._kept:
            del marker[ORDINAL_KEY]
        texts = {sha256: _as_json(blob, where) for sha256, blob in blobs.items()}
        # The document and the blobs are joined as text: 45 MB of rows never become Python objects twice.
        parts = re.split(rb'\{"%s":(\d+)\}' % slot.encode(), to_json(self.tree))
        parts[1::2] = [texts[hashes[int(index)]] for index in parts[1::2]]
        payload = Payload(metadata={"encoding": b"json/plain"}, data=b"".join(parts))
        list_refs(
            payload,
            [marker[MARKER_KEY] for marker in self._kept]
            + [h for blob in blobs.values() for h in genuine_refs(blob)],
        )
        return payload


def _as_json(blob: Payload, where: str) -> bytes:
    encoding = blob.metadata.get("encoding", b"")
    if encoding in {b"json/plain", b"json/protobuf"}:
        return blob.data
    if encoding == b"binary/null":
        return b"null"
    if encoding == b"binary/plain":
        with suppress(ValueError):
            return to_json(blob.data)
    raise InvalidInput(
        f"{where} holds a Ref to bytes inside another value. Annotate it `Ref[bytes]` and load it there."
    )
