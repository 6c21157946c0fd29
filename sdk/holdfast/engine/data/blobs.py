"""Where large payloads go: content-addressed blobs, and the driver for a local directory.

A blob is one encoded payload and its name is the SHA-256 of its bytes. So equal payloads are stored once, a
read proves itself, and a claim can name nothing but a hash: never a path, a bucket or a host.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from holdfast.errors import InvalidConfiguration, InvalidInput, Unavailable

DRIVER_NAME = "holdfast"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_THREADS = 8
_PIECE_BYTES: Final = 3 * 64 * 1024
_DATA_FIELD: Final = b"\x12"
"""The tag of `Payload.data`: field 2, with a length."""


class ContentStorage(StorageDriver):
    """The part that every blob driver shares: naming, claims, verification and the threads that do the I/O.

    Args:
        location: Where the blobs are, as messages show it.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="holdfast-blobs")

    def name(self) -> str:
        """One name for every kind of storage, so that blobs can be moved from one to another."""
        return DRIVER_NAME

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """Store payloads and return one claim for each."""
        loop = asyncio.get_running_loop()
        hashes = await asyncio.gather(
            *(loop.run_in_executor(self._threads, self.put, payload) for payload in payloads)
        )
        return [StorageDriverClaim(claim_data={"sha256": sha256}) for sha256 in hashes]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read the payloads behind claims.

        Raises:
            InvalidInput: A claim names no SHA-256.
            Unavailable: A blob is missing, damaged or cannot be read now.
        """
        hashes = [check_sha256(claim.claim_data.get("sha256", "")) for claim in claims]
        loop = asyncio.get_running_loop()
        return list(
            await asyncio.gather(
                *(loop.run_in_executor(self._threads, self.get, sha256) for sha256 in hashes)
            )
        )

    def put(self, payload: Payload) -> str:
        """Store one payload and return its SHA-256. Blocks: call it from a thread.

        Raises:
            Unavailable: The storage cannot be reached or is full.
        """
        data = payload.SerializeToString(deterministic=True)
        return self._put(hashlib.sha256(data).hexdigest(), data, len(data))

    def put_base64(self, file: BinaryIO) -> str:
        """Store what a file holds as a payload with its Base64 text, and return its SHA-256. Takes little memory,
        however large the file is. Blocks: call it from a thread.

        Raises:
            Unavailable: The storage cannot be reached or is full.
        """
        digest = hashlib.sha256()
        with tempfile.TemporaryFile() as encoded:
            for part in _payload_of_base64(file):
                digest.update(part)
                encoded.write(part)
            size_bytes = encoded.tell()
            encoded.seek(0)
            return self._put(digest.hexdigest(), encoded, size_bytes)

    def _put(self, sha256: str, data: bytes | BinaryIO, size_bytes: int) -> str:
        try:
            self._write(sha256, data, size_bytes)
        except OSError as error:
            raise Unavailable(f"Blob {sha256} cannot be written to {self.location}: {error}") from error
        return sha256

    def get(self, sha256: str) -> Payload:
        """Read one payload. Blocks: call it from a thread.

        Raises:
            InvalidInput: `sha256` is not a SHA-256.
            Unavailable: The blob is missing, damaged or cannot be read now.
        """
        check_sha256(sha256)
        try:
            data = self._read(sha256)
        except OSError as error:
            raise Unavailable(f"Blob {sha256} cannot be read from {self.location}: {error}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Unavailable(
                f"Blob {sha256} in {self.location} is damaged: its content has another hash. "
                "Restore it from a backup.",
                sha256=sha256,
            )
        return Payload.FromString(data)

    def missing(self, sha256: str) -> Unavailable:
        """The error for a blob that is not there."""
        return Unavailable(
            f"Blob {sha256} is not in {self.location}. Was it deleted, or does this process use another "
            "storage than the one that wrote it? Check HOLDFAST_STORAGE.",
            sha256=sha256,
        )

    @abstractmethod
    def _write(self, sha256: str, data: bytes | BinaryIO, size_bytes: int) -> None:
        """Write a blob of so many bytes; when it exists, make it look new so that a garbage collection keeps it."""

    @abstractmethod
    def _read(self, sha256: str) -> bytes:
        """Read a blob or raise `missing(sha256)`."""


class DirectoryStorage(ContentStorage):
    """Blobs as files of a local or shared directory: `<path>/<first two hex digits>/<sha256>`.

    A blob appears whole or not at all (written aside, flushed to disk, renamed), also when the process is
    killed.

    Args:
        path: The directory; created with the first blob.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().resolve()
        super().__init__(str(self.path))

    def blob_path(self, sha256: str) -> Path:
        """Where a blob is or would be."""
        return self.path / check_sha256(sha256)[:2] / sha256

    def blobs(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every blob's SHA-256 and `stat`."""
        for path in sorted(self.path.glob("[0-9a-f][0-9a-f]/*")):
            if _SHA256.fullmatch(path.name):
                try:
                    yield path.name, path.stat()
                except FileNotFoundError:
                    continue

    def delete(self, sha256: str, *, unless_used_since: datetime) -> bool:
        """Delete a blob unless it was written or reused since `unless_used_since`; whether it is gone.

        The blob is set aside before its age is read: a writer that reuses it in this moment either refreshed
        the age before, and the blob comes back, or no longer finds it and writes it anew.
        """
        path = self.blob_path(sha256)
        aside = path.with_suffix(".deleting")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        if datetime.fromtimestamp(aside.stat().st_mtime, UTC) >= unless_used_since:
            aside.replace(path)
            return False
        aside.unlink()
        return True

    def delete_leftovers(self, *, older_than: datetime) -> None:
        """Delete what killed processes left half written or half deleted."""
        for pattern in (".writing-*", "*.deleting"):
            for path in self.path.glob(f"[0-9a-f][0-9a-f]/{pattern}"):
                try:
                    if datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
                        path.unlink()
                except FileNotFoundError:
                    continue

    def _write(self, sha256: str, data: bytes | BinaryIO, size_bytes: int) -> None:
        path = self.blob_path(sha256)
        try:
            os.utime(path)
            if path.stat().st_size == size_bytes:
                return
        except (FileNotFoundError, PermissionError):
            pass  # not there, or another user's, whose age only a new file can renew
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    shutil.copyfileobj(data, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        _flush_directory(path.parent)

    def _read(self, sha256: str) -> bytes:
        try:
            return self.blob_path(sha256).read_bytes()
        except FileNotFoundError:
            raise self.missing(sha256) from None


def base64_size(size_bytes: int) -> int:
    """How long so many bytes are as a JSON string of Base64."""
    return 4 * -(-size_bytes // 3) + 2


def _payload_of_base64(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a serialised payload whose data is the Base64 text of a file, as a JSON string."""
    yield Payload(metadata={"encoding": b"json/plain"}).SerializeToString(deterministic=True)
    yield _DATA_FIELD + _varint(base64_size(file.seek(0, os.SEEK_END))) + b'"'
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        yield base64.b64encode(piece)
    yield b'"'


def _varint(number: int) -> bytes:
    """A number as protobuf writes lengths."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*written, number))


def check_sha256(text: str) -> str:
    """Return `text` if it is a SHA-256 in lower-case hex.

    Raises:
        InvalidInput: It is anything else, a path for example.
    """
    if not _SHA256.fullmatch(text):
        raise InvalidInput(f"A claim must name a SHA-256 in hex, not {text[:80]!r}.")
    return text


def open_storage(location: str | Path) -> ContentStorage:
    """Open the storage that a setting names.

    Args:
        location: A directory, a `file://` URL, or `s3://bucket/prefix` (needs the extra `s3`; the endpoint,
            region and credentials are those of boto3).

    Raises:
        InvalidConfiguration: Nothing can be opened under that name.
    """
    if isinstance(location, Path):
        return DirectoryStorage(location)
    scheme = urlsplit(location).scheme if "://" in location else ""
    if scheme == "s3":
        from holdfast.engine.data.s3 import S3Storage

        return S3Storage.open(location)
    if scheme == "file":
        from urllib.request import url2pathname  # brings an HTTP client along

        return DirectoryStorage(url2pathname(urlsplit(location).path))
    if scheme or not location:
        raise InvalidConfiguration(
            f"Storage {location!r} is neither a directory nor `s3://bucket/prefix`; correct HOLDFAST_STORAGE."
        )
    return DirectoryStorage(location)


def _flush_directory(path: Path) -> None:
    if os.name == "nt":  # Windows cannot open a directory for flushing
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
