"""What workers serve, read by a process that has imported none of it; and what becomes of it when they die."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.engine.support import eventually, until

from holdfast import Client, NotFound, Unavailable, Worker, step, workflow
from holdfast.catalogue import Catalogue
from holdfast.engine import publishing

ROOT = Path(__file__).parents[2]


@step
async def published_step(number: int) -> int:
    return number + 1


@workflow
async def published(number: int) -> int:
    return await published_step(number)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(publishing, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(publishing, "RETRY_SECONDS", (0.05, 0.2))
    return tmp_path / ".holdfast"


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    async with Client.embedded(home) as made:
        yield made


@contextmanager
def host(client: Client, build: str, monkeypatch: pytest.MonkeyPatch) -> Generator[subprocess.Popen[bytes]]:
    monkeypatch.setenv("HOLDFAST_INDEXER", "auto")  # it keeps a history
    command = [sys.executable, "-m", "tests.client.catalogue_host", str(client.home), build]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_workers_of_other_processes_publish_what_they_serve(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def builds(*names: str) -> Catalogue | None:
        found = await client.workers.catalogue()
        there = [build.build_id for build in found.builds if build.workers]
        return found if sorted(name for name in there if name) == sorted(names) else None

    assert (await client.workers.catalogue()).builds == []
    with host(client, "may", monkeypatch) as may:
        found: Catalogue = await eventually(lambda: builds("may"), 60)
        [deliver] = found.workflows
        assert (deliver.name, deliver.description) == ("deliver", "Bring a parcel to its door.")
        assert (deliver.queues, deliver.builds, deliver.live) == (["parcels"], ["post:may"], True)
        assert deliver.input_schema is not None
        assert list(deliver.input_schema["properties"]) == ["parcel", "express"]
        assert deliver.input_schema["required"] == ["parcel"]
        assert [one.name for one in found.steps] == ["weigh"]
        assert found.builds[0].workers[0].startswith(f"{may.pid}@")
        assert (await client.workers.catalogue(queue="other")).workflows == []
        with host(client, "june", monkeypatch):
            found = await eventually(lambda: builds("may", "june"), 60)
            [difference] = found.differences
            assert (difference.kind, difference.name, difference.queue) == ("steps", "weigh", "parcels")
            assert difference.builds == ["post:june", "post:may"]
            assert found.workflows[0].builds == ["post:june", "post:may"], "the same in both"
        await eventually(lambda: builds("may"), 60)
    gone: Catalogue = await eventually(builds, 60)
    assert [(build.name, build.workers) for build in gone.builds] == [("post:june", [])]
    assert not gone.differences
    [weigh] = gone.steps
    assert (weigh.live, weigh.input_schema and list(weigh.input_schema["properties"])) == (
        False,
        ["parcel", "scale"],
    )
    executors = await client.executors.list()
    assert {one.name for one in executors} >= {"transform", "merge"}
    transform = await client.executors.get("transform")
    assert transform.input_schema is not None
    assert "expression" in transform.input_schema["properties"]
    with pytest.raises(NotFound, match=r"no worker has offered executor 'ftp'; offered: .*transform"):
        await client.executors.get("ftp")


async def test_a_worker_works_while_the_database_is_away_and_publishes_when_it_is_back(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "history.db"
    file.mkdir()  # which no database can be opened as
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", f"sqlite:///{file}")

    def warnings() -> list[str]:
        return [record.message for record in caplog.records if "cannot be published" in record.message]

    async with Worker(client, [published]):
        assert await client.run(published, 1) == 2
        await until(warnings, 60)
        assert await client.run(published, 2) == 3
        file.rmdir()
        await until(file.is_file, 60)

        async def names() -> list[str]:
            return [one.name for one in (await client.workers.catalogue()).workflows]

        assert await eventually(names, 60) == ["published"]
    assert len(warnings()) == 1, "told once, however often it is tried"


async def test_without_a_database_a_worker_says_so_once_and_works(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "holdfast.worker")
    async with (
        Client.connect(client.address, namespace=client.namespace) as cluster,
        Worker(cluster, [published]),
    ):
        assert await cluster.run(published, 1) == 2
    [told] = [record.message for record in caplog.records if "is not published" in record.message]
    assert "HOLDFAST_DATABASE_URL" in told
    async with Client.embedded(None) as memory:
        with pytest.raises(Unavailable, match="in memory"):
            await memory.workers.catalogue()
