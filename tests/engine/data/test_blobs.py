from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from holdfast.engine.data.blobs import DirectoryStorage, open_storage
from holdfast.errors import InvalidConfiguration, InvalidInput, Unavailable

PAYLOAD = Payload(metadata={"encoding": b"json/plain", "b": b"2", "a": b"1"}, data=b"x" * 1000)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def age(storage: DirectoryStorage, sha256: str) -> None:
    os.utime(storage.blob_path(sha256), (LONG_AGO.timestamp(), LONG_AGO.timestamp()))


async def test_a_payload_is_stored_and_read_through_its_claim(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path / "new" / "folder")
    claims = await storage.store(StorageDriverStoreContext(), [PAYLOAD, Payload(data=b"other")])
    assert set(claims[0].claim_data) == {"sha256"}
    assert await storage.retrieve(StorageDriverRetrieveContext(), claims) == [PAYLOAD, Payload(data=b"other")]


def test_equal_payloads_are_one_blob_that_looks_new(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    sha256 = storage.put(PAYLOAD)
    age(storage, sha256)
    again = Payload(data=b"x" * 1000)
    for key in ("a", "b", "encoding"):  # another order of the metadata is the same payload
        again.metadata[key] = PAYLOAD.metadata[key]
    assert storage.put(again) == sha256
    [(name, stat)] = storage.blobs()
    assert name == sha256
    assert stat.st_mtime > LONG_AGO.timestamp() + 1e6


def test_a_truncated_blob_is_written_anew(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    sha256 = storage.put(PAYLOAD)
    storage.blob_path(sha256).write_bytes(b"cut")
    assert storage.put(PAYLOAD) == sha256
    assert storage.get(sha256) == PAYLOAD


def test_a_damaged_blob_is_never_returned(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    sha256 = storage.put(PAYLOAD)
    path = storage.blob_path(sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Unavailable, match=f"{sha256}.*damaged"):
        storage.get(sha256)


def test_a_missing_blob_names_hash_and_place(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=f"{'0' * 64}.*{tmp_path}.*HOLDFAST_STORAGE"):
        DirectoryStorage(tmp_path).get("0" * 64)


@pytest.mark.parametrize(
    "claim", ["", "../../etc/passwd", "/etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n", "\0"]
)
async def test_a_claim_is_a_hash_and_nothing_else(tmp_path: Path, claim: str) -> None:
    with pytest.raises(InvalidInput, match="SHA-256"):
        await DirectoryStorage(tmp_path).retrieve(
            StorageDriverRetrieveContext(), [StorageDriverClaim(claim_data={"sha256": claim})]
        )


def test_many_writers_of_one_blob_leave_one_whole_file(tmp_path: Path) -> None:
    storages = [DirectoryStorage(tmp_path) for _ in range(8)]
    threads = [threading.Thread(target=storage.put, args=(PAYLOAD,)) for storage in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [path] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert DirectoryStorage(tmp_path).get(path.name) == PAYLOAD


def test_only_an_unused_blob_is_deleted(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    sha256 = storage.put(PAYLOAD)
    cutoff = datetime.now(UTC) - timedelta(hours=1)
    assert not storage.delete(sha256, unless_used_since=cutoff)
    assert storage.get(sha256) == PAYLOAD
    age(storage, sha256)
    assert storage.delete(sha256, unless_used_since=cutoff)
    assert not storage.delete(sha256, unless_used_since=cutoff)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_leftovers_of_killed_processes_go_when_old(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    folder = storage.blob_path(storage.put(PAYLOAD)).parent
    old, new = folder / ".writing-old", folder / ".writing-new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    storage.delete_leftovers(older_than=datetime.now(UTC) - timedelta(hours=1))
    assert not old.exists()
    assert new.exists()
    assert len(list(storage.blobs())) == 1


def test_a_location_opens_what_it_names(tmp_path: Path) -> None:
    assert open_storage(tmp_path).location == str(tmp_path)
    assert open_storage(str(tmp_path)).location == str(tmp_path)
    assert open_storage(tmp_path.as_uri()).location == str(tmp_path)
    for wrong in ("", "ftp://host/path", "s3:///prefix"):
        with pytest.raises(InvalidConfiguration):
            open_storage(wrong)


def test_a_storage_that_cannot_be_written_or_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    storage = DirectoryStorage(tmp_path / "file")
    with pytest.raises(Unavailable, match=r"cannot be written to .*file"):
        storage.put(PAYLOAD)
    with pytest.raises(Unavailable, match=r"cannot be read from .*file"):
        storage.get("0" * 64)
