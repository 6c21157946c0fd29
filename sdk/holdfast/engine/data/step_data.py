"""How values get into and out of steps and clients, where large ones travel as Refs."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from holdfast.engine.data.blobs import ContentStorage, base64_size
from holdfast.engine.data.refdoc import RefDocument, root_ref
from holdfast.engine.data.refs import Ref, RefContext, genuine_refs, mentions_ref
from holdfast.engine.data.values import from_payload, megabytes, to_payload
from holdfast.errors import InvalidInput, PayloadTooLarge, Unavailable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

REF_BYTES = 4 * 1024 * 1024
"""Step results over this size reach workflow code as a `Ref`."""

NODE_REF_BYTES = 64 * 1024
"""Outputs of nodes over this size reach the interpreter of DAGs as a `Ref`: it evaluates nothing larger itself."""

LIMIT_BYTES = 50 * 1024 * 1024
"""The most that one value may have from step to step, everything it refers to included."""

INLINE_BYTES = 2 * 1024 * 1024
"""The most that Temporal takes in one payload."""

_THREAD_BYTES = 1024 * 1024
_NESTING = 16


class StepData:
    """Writes step results and reads step arguments. Also reads the results of runs for a client.

    Not for workflow code: it does I/O.

    Args:
        data_converter: The converter of the client or worker, as `make_data_converter` makes it.
    """

    def __init__(self, data_converter: DataConverter) -> None:
        self._converter = data_converter.payload_converter
        self._codec = data_converter.payload_codec
        self._external = data_converter.external_storage
        drivers = self._external.drivers if self._external else ()
        self._storage = next((driver for driver in drivers if isinstance(driver, ContentStorage)), None)

    @property
    def stored(self) -> bool:
        """Whether large payloads go to a storage."""
        return self._external is not None

    async def encode_result(
        self, value: Any, adapter: TypeAdapter[Any], *, step: str, ref_bytes: int = REF_BYTES
    ) -> Payload:
        """Make the payload of a step's result; the SDK still applies codec and claim check to it.

        Args:
            value: What the step returned.
            adapter: Of the declared type.
            step: The step's name, for messages.
            ref_bytes: Over this size the workflow receives a Ref.

        Raises:
            InvalidInput: The value cannot be written as JSON, or cannot be read back as the declared type.
            PayloadTooLarge: It is over 50 MiB, or over what may travel without a storage.
        """
        return await self._encode(value, adapter, f"The result of step {step!r}", step, ref_bytes)

    async def keep(self, payload: Payload, *, step: str, ref_bytes: int = 0) -> Payload:
        """Write a payload as it is, with the Refs in it, to the storage if it is over so many bytes.

        Returns:
            A Ref; where it is small or there is no storage, the payload itself.

        Raises:
            PayloadTooLarge: It is over 50 MiB, or over what may travel without a storage.
        """
        return await self._limited(payload, f"The result of step {step!r}", step, ref_bytes)

    async def keep_base64(self, file: BinaryIO, *, step: str) -> Ref[str] | None:
        """Store what a file holds as Base64 text, without holding it in memory unless a codec needs all of it at once.

        Args:
            file: Open for reading and seeking.
            step: The step's name, for messages.

        Returns:
            None if there is no storage.

        Raises:
            PayloadTooLarge: The text is over 50 MiB.
            Unavailable: The storage cannot be reached or is full.
        """
        if self._storage is None:
            return None
        size_bytes = base64_size(file.seek(0, os.SEEK_END))
        _check_size(size_bytes, f"The result of step {step!r}")
        if self._codec is None:
            return Ref(await asyncio.to_thread(self._storage.put_base64, file), size_bytes, step=step)
        file.seek(0)
        data = b'"%b"' % base64.b64encode(await asyncio.to_thread(file.read))
        payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
        return await self._stored(self._storage, payload, step)

    async def encode_input(self, value: Any, adapter: TypeAdapter[Any], *, where: str) -> Payload:
        """Make the payload of an argument that a client sends; over 4 MiB, the workflow receives a Ref.

        Args:
            value: The argument.
            adapter: Of the declared type.
            where: What the value is, for messages: "Argument 'rows' of workflow 'report'".

        Raises:
            InvalidInput: The value cannot be written as JSON, or cannot be read back as the declared type.
            PayloadTooLarge: It is over 50 MiB, or over what may travel without a storage.
        """
        return await self._encode(value, adapter, where, "")

    async def decode(self, payload: Payload, adapter: TypeAdapter[T], *, where: str = "A value") -> T:
        """Read a value, with every Ref in it replaced by its value unless the type says `Ref[...]`.

        Args:
            payload: As the SDK delivers it to a parameter or result of type `RawValue`.
            adapter: Of the declared type.
            where: What the value is, for messages: "Argument 'rows' of step 'load'".

        Raises:
            InvalidInput: The value does not fit the type; the message names path and value.
            PayloadTooLarge: Value and Refs together are over 50 MiB.
            Unavailable: A blob is missing or damaged, or its key is unknown.
        """
        takes_refs: bool | None = None
        for _ in range(_NESTING):
            allowed = genuine_refs(payload)
            if not allowed:
                return await self._validate(payload, adapter, where, None)
            if takes_refs is None:
                takes_refs = mentions_ref(adapter.core_schema)
            root = root_ref(payload, allowed)
            if root is not None and not takes_refs:
                _check_total(root.size_bytes, where)
                payload = await self.fetch(root.sha256)
                continue
            document, context = RefDocument(payload, allowed), RefContext(allowed, source=self)
            if takes_refs:
                document.keep_typed(adapter, context)
            hashes = document.open_hashes
            if not hashes:
                return await self._validate(payload, adapter, where, context)
            _check_total(len(payload.data) + document.open_bytes, where)
            blobs = await asyncio.gather(*map(self.fetch, hashes))
            payload = document.filled(dict(zip(hashes, blobs, strict=True)), where)
            _check_total(len(payload.data), where)
        raise InvalidInput(f"{where} has Refs inside Refs, more than {_NESTING} deep.")

    async def load(self, ref: Ref[Any], adapter: TypeAdapter[Any]) -> Any:
        """Read the value behind a Ref; `Ref.load` is the way to call it."""
        return await self.decode(await self.fetch(ref.sha256), adapter, where=repr(ref))

    async def fetch(self, sha256: str) -> Payload:
        """Read one blob, decoded.

        Raises:
            Unavailable: There is no storage here, or the blob or its key is missing.
        """
        if self._storage is None:
            raise Unavailable(
                "A Ref arrived, and this process has no storage to read it from. Set HOLDFAST_STORAGE to the "
                "storage of the worker that wrote it.",
                sha256=sha256,
            )
        claim = StorageDriverClaim(claim_data={"sha256": sha256})
        payloads = await self._storage.retrieve(StorageDriverRetrieveContext(), [claim])
        return (await self._codec.decode(payloads) if self._codec else payloads)[0]

    async def _encode(
        self, value: Any, adapter: TypeAdapter[Any], where: str, step: str, ref_bytes: int = REF_BYTES
    ) -> Payload:
        payload = to_payload(value, adapter, self._converter, where=where)
        return await self._limited(payload, where, step, ref_bytes)

    async def _limited(self, payload: Payload, where: str, step: str, ref_bytes: int) -> Payload:
        size_bytes = len(payload.data)
        _check_size(size_bytes, where)
        if self._storage is not None and size_bytes > ref_bytes:
            return self._converter.to_payload(await self._stored(self._storage, payload, step))
        if self._storage is None and size_bytes > INLINE_BYTES:
            await self._check_inline(payload, where)
        return payload

    async def _stored(self, storage: ContentStorage, payload: Payload, step: str) -> Ref[Any]:
        encoded = await self._codec.encode([payload]) if self._codec else [payload]
        [claim] = await storage.store(StorageDriverStoreContext(), encoded)
        return Ref(claim.claim_data["sha256"], len(payload.data), step=step)

    async def _check_inline(self, payload: Payload, where: str) -> None:
        encoded = (await self._codec.encode([payload]))[0] if self._codec else payload
        limit = REF_BYTES if self._external else INLINE_BYTES  # a storage that is not ours takes up to 4 MiB
        if encoded.ByteSize() > limit:
            raise PayloadTooLarge(
                f"{where} has {megabytes(encoded.ByteSize())}, and without a storage at most "
                f"{megabytes(limit)} can travel. Set HOLDFAST_STORAGE to a directory or `s3://bucket/prefix` "
                "that all workers and clients reach.",
                size_bytes=encoded.ByteSize(),
            )

    async def _validate(
        self, payload: Payload, adapter: TypeAdapter[T], where: str, context: RefContext | None
    ) -> T:
        def work() -> T:
            return from_payload(payload, adapter, self._converter, where=where, refs=context)

        return await asyncio.to_thread(work) if len(payload.data) > _THREAD_BYTES else work()


def _check_size(size_bytes: int, where: str) -> None:
    if size_bytes > LIMIT_BYTES:
        raise PayloadTooLarge(
            f"{where} has {megabytes(size_bytes)}, more than the {megabytes(LIMIT_BYTES)} that may travel. "
            "Write it to a file or a database and pass where it is.",
            size_bytes=size_bytes,
        )


def _check_total(size_bytes: int, where: str) -> None:
    if size_bytes > LIMIT_BYTES:
        raise PayloadTooLarge(
            f"{where} has {megabytes(size_bytes)} with the results it refers to, more than the "
            f"{megabytes(LIMIT_BYTES)} that may travel from step to step. Annotate it with `Ref[...]` "
            "(a list of results as `list[Ref[...]]`) and load one after the other in the step.",
            size_bytes=size_bytes,
        )
