"""Deletes blobs that no history refers to.

The search is conservative: a blob is kept if its hash appears anywhere in a decoded payload, whatever put it
there, and nothing is deleted when anything could not be read.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import PayloadCodec
from temporalio.service import RPCError, RPCStatusCode

from holdfast.engine.data.blobs import DirectoryStorage
from holdfast.engine.data.gc_sources import Source, sources
from holdfast.errors import HoldfastError, InvalidInput

_HASH = re.compile(rb"[0-9a-f]{64}")
_READERS = 8
_PAYLOAD = Payload.DESCRIPTOR.full_name


@dataclass(frozen=True, kw_only=True)
class GcReport:
    """What a garbage collection found and did."""

    dry_run: bool
    """Whether nothing was deleted because nothing should be."""

    source_count: int
    """How many executions, schedules and activities were read."""

    blob_count: int
    """How many blobs the storage had."""

    referenced_count: int
    """How many of them something refers to."""

    young_count: int
    """How many were kept because they were written or reused within the minimum age."""

    garbage: tuple[str, ...]
    """The blobs that were deleted, or would have been."""

    garbage_bytes: int
    """Their size together."""

    unreadable: tuple[str, ...]
    """What could not be read, and why. If there is any, nothing was deleted."""

    @property
    def deleted(self) -> bool:
        """Whether the garbage is gone."""
        return not self.dry_run and not self.unreadable


async def collect(
    storage_dir: str | Path,
    client: Client,
    *,
    dry_run: bool = True,
    min_age: timedelta = timedelta(hours=24),
    namespaces: Sequence[str] | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> GcReport:
    """Find, and delete, the blobs of a directory that nothing on a Temporal server refers to.

    Open and closed executions, their pending activities, and schedules count. Exported histories do not.

    Args:
        storage_dir: The directory of a `DirectoryStorage`.
        client: Connected to the only server that uses this directory. Its data converter needs every key that
            is still in use.
        dry_run: Only report.
        min_age: Blobs written or reused in this time stay, as their run may not be listed yet.
        namespaces: Those that use this directory. `None` reads every namespace of the server.
        progress: Called with what is counted and how many there are so far.

    Raises:
        InvalidInput: `storage_dir` is no directory, or `min_age` is negative.
    """
    if min_age < timedelta(0):
        raise InvalidInput(f"min_age must not be negative, got {min_age}.")
    started = datetime.now(UTC)
    storage = DirectoryStorage(storage_dir)
    stats = await asyncio.to_thread(_blobs, storage)
    search = _Search(storage, stats, client.data_converter.payload_codec, progress or _silent)
    await search.read(sources(client, namespaces))
    # A run that started meanwhile may have inherited a reference from one that is gone by now.
    await search.read(sources(client, namespaces, started_since=started))

    cutoff = started - min_age
    loose = [sha256 for sha256 in stats if sha256 not in search.found]
    old = [sha256 for sha256 in loose if datetime.fromtimestamp(stats[sha256].st_mtime, UTC) < cutoff]
    if not dry_run and not search.unreadable:
        old = await asyncio.to_thread(_delete, storage, old, cutoff)
    return GcReport(
        dry_run=dry_run,
        source_count=search.source_count,
        blob_count=len(stats),
        referenced_count=len(search.found),
        young_count=len(loose) - len(old),
        garbage=tuple(old),
        garbage_bytes=sum(stats[sha256].st_size for sha256 in old),
        unreadable=tuple(search.unreadable),
    )


class _Search:
    """The hashes found so far; every blob found is read as well, as it may refer to others."""

    def __init__(
        self,
        storage: DirectoryStorage,
        existing: Mapping[str, object],
        codec: PayloadCodec | None,
        progress: Callable[[str, int], None],
    ) -> None:
        self.found: set[str] = set()
        self.unreadable: list[str] = []
        self.source_count = 0
        self._storage, self._existing, self._codec, self._progress = storage, existing, codec, progress

    async def read(self, found: AsyncIterator[Source]) -> None:
        async def worker() -> None:
            async for source in shared:
                await self._read_source(source)

        shared = _Shared(found)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_READERS):
                    group.create_task(worker())
        except* RPCError as errors:
            self.unreadable.extend(f"the list of executions: {error}" for error in errors.exceptions)

    async def _read_source(self, source: Source) -> None:
        try:
            async for message in source.messages():
                for payload in payloads_of(message):
                    await self._read_payload(payload)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:  # not found: deleted since it was listed
                self.unreadable.append(f"{source.name}: {error}")
        except HoldfastError as error:
            self.unreadable.append(f"{source.name}: {error}")
        except Exception as error:  # noqa: BLE001 - a user's codec may raise anything, and then nothing may go
            self.unreadable.append(f"{source.name}: {type(error).__name__}: {error}")
        self.source_count += 1
        self._progress("executions read", self.source_count)

    async def _read_payload(self, payload: Payload) -> None:
        todo = [payload]
        while todo:
            for decoded in await self._decoded(todo.pop()):
                for sha256 in self._new_hashes(decoded):
                    self.found.add(sha256)
                    self._progress("blobs found in use", len(self.found))
                    todo.append(await asyncio.to_thread(self._storage.get, sha256))

    async def _decoded(self, payload: Payload) -> list[Payload]:
        """The payload as stored and as decoded: a reference may be in either."""
        if self._codec is None:
            return [payload]
        return [payload, *await self._codec.decode([payload])]

    def _new_hashes(self, payload: Payload) -> Iterator[str]:
        for text in (payload.data, *payload.metadata.values()):
            for match in _HASH.findall(text):
                sha256 = match.decode()
                if sha256 in self._existing and sha256 not in self.found:
                    yield sha256


class _Shared:
    """One async iterator for several readers."""

    def __init__(self, items: AsyncIterator[Source]) -> None:
        self._items, self._lock = items, asyncio.Lock()

    def __aiter__(self) -> _Shared:
        return self

    async def __anext__(self) -> Source:
        async with self._lock:
            return await anext(self._items)


def payloads_of(message: Message) -> Iterator[Payload]:
    """Every payload anywhere in a protobuf message."""
    if message.DESCRIPTOR.full_name == _PAYLOAD:
        yield cast("Payload", message)
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        values: Any = [value] if isinstance(value, Message) else value
        if field.message_type.GetOptions().map_entry:
            values = values.values()
        for item in values:
            if isinstance(item, Message):
                yield from payloads_of(item)


def _blobs(storage: DirectoryStorage) -> dict[str, os.stat_result]:
    if not storage.path.is_dir():
        raise InvalidInput(f"{storage.location!r} is not a directory.")
    return dict(storage.blobs())


def _delete(storage: DirectoryStorage, garbage: Sequence[str], cutoff: datetime) -> list[str]:
    storage.delete_leftovers(older_than=cutoff)
    return [sha256 for sha256 in garbage if storage.delete(sha256, unless_used_since=cutoff)]


def _silent(what: str, count: int) -> None:
    del what, count
