from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.common import RawValue
from temporalio.converter import PayloadCodec
from temporalio.testing import WorkflowEnvironment

from holdfast.engine.data.blobs import DirectoryStorage
from holdfast.engine.data.codec import HoldfastCodec
from holdfast.engine.data.converter import make_data_converter
from holdfast.engine.data.gc import collect
from holdfast.engine.data.keys import KeyRing
from holdfast.engine.data.step_data import REF_BYTES, StepData
from holdfast.errors import InvalidInput

STORED = "s" * 40_000


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path)


def client_of(
    server: WorkflowEnvironment, storage: DirectoryStorage, codec: PayloadCodec | None = None
) -> Client:
    config = server.client.config()
    config["data_converter"] = make_data_converter(codec=codec, storage=storage)
    return Client(**config)


def make_old(storage: DirectoryStorage) -> None:
    for sha256, _ in storage.blobs():
        os.utime(storage.blob_path(sha256), (0, 0))


def names(storage: DirectoryStorage) -> set[str]:
    return {sha256 for sha256, _ in storage.blobs()}


async def start_every_way(client: Client) -> None:
    """Blobs in an input, a memo, a signal, a schedule and Refs, of open and closed runs."""
    data = StepData(client.data_converter)
    ref = RawValue(await data.encode_result("r" * (REF_BYTES + 1), TypeAdapter(str), step="load"))
    listed = RawValue(await data.encode_result(["t" * REF_BYTES], TypeAdapter(list[str]), step="join"))
    run = await client.start_workflow(
        "Any", args=[STORED + "input", ref], id="run", task_queue="none", memo={"m": STORED + "memo"}
    )
    await run.signal("any", STORED + "signal")
    await client.start_workflow("Any", listed, id="closed", task_queue="none")
    await client.get_workflow_handle("closed").terminate()
    await client.create_schedule(
        "nightly",
        Schedule(
            action=ScheduleActionStartWorkflow("Any", STORED + "schedule", id="x", task_queue="none"),
            spec=ScheduleSpec(),
            state=ScheduleState(paused=True),
        ),
    )


@pytest.mark.parametrize("keys", [None, KeyRing.parse(KeyRing.generate("k"))], ids=["plain", "encrypted"])
async def test_only_what_no_history_refers_to_is_deleted(
    server: WorkflowEnvironment, storage: DirectoryStorage, keys: KeyRing | None
) -> None:
    client = client_of(server, storage, HoldfastCodec(keys=keys) if keys else None)
    await start_every_way(client)
    needed = names(storage)
    assert len(needed) == 6
    garbage = storage.put(Payload(data=b"nobody"))
    make_old(storage)
    young = storage.put(Payload(data=b"young"))

    dry = await collect(storage.path, client)
    assert (dry.garbage, dry.young_count, dry.referenced_count) == ((garbage,), 1, 6)
    assert not dry.deleted
    assert names(storage) == {*needed, garbage, young}

    seen: list[str] = []
    report = await collect(storage.path, client, dry_run=False, progress=lambda what, _: seen.append(what))
    assert report.deleted
    assert report.garbage == (garbage,)
    assert report.garbage_bytes > 0
    assert report.source_count == 4  # two runs, and the schedule twice
    assert seen
    assert names(storage) == {*needed, young}

    await collect(storage.path, client, dry_run=False, min_age=timedelta(0))
    assert names(storage) == needed


async def test_refs_inside_stored_values_are_followed(
    server: WorkflowEnvironment, storage: DirectoryStorage
) -> None:
    client = client_of(server, storage)
    data = StepData(client.data_converter)
    ref = await data.encode_result("r" * (REF_BYTES + 1), TypeAdapter(str), step="load")
    [inner] = names(storage)
    outer = Payload(metadata=ref.metadata, data=b'["' + b"x" * 40_000 + b'",' + ref.data + b"]")
    await client.start_workflow("Any", RawValue(outer), id="run", task_queue="none")
    assert len(names(storage)) == 2
    report = await collect(storage.path, client, dry_run=False, min_age=timedelta(0))
    assert report.garbage == ()
    assert inner in names(storage)


async def test_nothing_is_deleted_when_something_cannot_be_read(
    server: WorkflowEnvironment, storage: DirectoryStorage
) -> None:
    old = client_of(server, storage, HoldfastCodec(keys=KeyRing.parse(KeyRing.generate("old"))))
    await old.start_workflow("Any", STORED, id="run", task_queue="none")
    make_old(storage)
    before = names(storage)
    new = client_of(server, storage, HoldfastCodec(keys=KeyRing.parse(KeyRing.generate("new"))))
    await new.start_workflow("Any", "small", id="other", task_queue="none")
    make_old(storage)
    report = await collect(storage.path, new, dry_run=False)
    assert not report.deleted
    assert any("run" in problem and "'old'" in problem for problem in report.unreadable)
    assert names(storage) == before


async def test_a_damaged_blob_in_use_stops_the_deletion(
    server: WorkflowEnvironment, storage: DirectoryStorage
) -> None:
    client = client_of(server, storage)
    await client.start_workflow("Any", STORED, id="run", task_queue="none")
    [needed] = names(storage)
    storage.blob_path(needed).write_bytes(b"cut")
    storage.put(Payload(data=b"nobody"))
    make_old(storage)
    report = await collect(storage.path, client, dry_run=False)
    assert not report.deleted
    assert "damaged" in report.unreadable[0]
    assert len(names(storage)) == 2


async def test_a_namespace_that_cannot_be_listed_stops_the_deletion(
    server: WorkflowEnvironment, storage: DirectoryStorage
) -> None:
    storage.put(Payload(data=b"nobody"))
    make_old(storage)
    report = await collect(storage.path, client_of(server, storage), dry_run=False, namespaces=["nowhere"])
    assert not report.deleted
    assert "list" in report.unreadable[0]
    assert len(names(storage)) == 1


async def test_a_wrong_directory_or_age_is_refused(
    server: WorkflowEnvironment, storage: DirectoryStorage
) -> None:
    with pytest.raises(InvalidInput, match="not a directory"):
        await collect(storage.path / "nowhere", client_of(server, storage))
    with pytest.raises(InvalidInput, match="negative"):
        await collect(storage.path, client_of(server, storage), min_age=timedelta(seconds=-1))
