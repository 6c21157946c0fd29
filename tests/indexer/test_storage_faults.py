"""Databases that are full, restarted or behind the times: workflows never notice, and nothing is missing afterwards."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import update
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.client import Client
from tests.engine.support import eventually
from tests.indexer.flows import contents, rows, start
from tests.indexer.test_faults import some_runs, stored, working
from tests.store.made import made
from tests.store.postgres import QUICK, Postgres, programs

from holdfast.indexer import Indexer
from holdfast.indexer.outages import outages
from holdfast.indexer.reading import look, read_described
from holdfast.indexer.set_back import UNKNOWN
from holdfast.states import RunState
from holdfast.store.database import Database
from holdfast.store.schema import cursors, runs
from holdfast.store.writer import write_runs

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in.*ServerCursorMixin")
"""A cursor of a PostgreSQL that crashed cannot be closed, which psycopg says when it is collected."""

ROUNDS = 6 if os.environ.get("FAULTS") == "thorough" else 1


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


async def same_as_anew(temporal: Client, database: Database, folder: Path) -> None:
    """What is stored equals what another store gets that has seen none of it."""
    anew = Database.open(folder / f"anew-{random.randrange(10**9)}.db")
    try:
        difference: dict[str, tuple[Counter[str], Counter[str]]] = {}

        async def same() -> bool:
            await Indexer(temporal, database).catch_up()
            await Indexer(temporal, anew).catch_up()
            one, other = contents(database), contents(anew)
            difference.clear()
            difference.update(
                {
                    name: (one[name] - other[name], other[name] - one[name])
                    for name in one
                    if one[name] != other[name]
                }
            )
            return not difference

        try:
            await eventually(same, 30)
        except AssertionError:
            assert difference == {}
            raise
    finally:
        anew.close()


async def complete(temporal: Client, database: Database, wanted: list[str], seconds: float = 60) -> None:
    async def all_there() -> bool:
        return stored(database, wanted)

    await eventually(all_there, seconds)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr!r}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_is_waited_for(
    temporal: Client, queue: str, small_disk: Path, tmp_path: Path
) -> None:
    database = Database.open(small_disk / "history.db")
    ballast = small_disk / "ballast"
    try:
        await Indexer(temporal, database).catch_up()
        async with working(Indexer(temporal, database)) as indexer:
            for number in range(ROUNDS):
                with ballast.open("wb", buffering=0) as file:
                    try:
                        while True:
                            file.write(b"x" * 4096)
                    except OSError:
                        pass  # now it is full
                wanted = await some_runs(temporal, queue, random.Random(number), 8)

                async def told() -> bool:
                    return "full" in (indexer.problem or "") or "disk" in (indexer.problem or "")

                await eventually(told, 60)
                assert not stored(database, wanted)
                ballast.unlink()
                await complete(temporal, database, wanted)
        await same_as_anew(temporal, database, tmp_path)
    finally:
        database.close()


async def test_a_database_that_may_not_grow_is_waited_for(
    temporal: Client, queue: str, tmp_path: Path
) -> None:
    database = Database.open(tmp_path / "history.db")
    try:
        await Indexer(temporal, database).catch_up()
        with database.engine.connect() as connection:
            pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
        connections = [database.engine.connect() for _ in range(20)]
        for connection in connections:  # it holds for a connection, and the pool has 20
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            connection.close()
        async with working(Indexer(temporal, database)) as indexer:
            wanted = await some_runs(temporal, queue, random.Random(8), 24)

            async def told() -> bool:
                return "full" in (indexer.problem or "")

            await eventually(told, 60)
            database.engine.dispose()  # new connections have no limit
            await complete(temporal, database, wanted)
        await same_as_anew(temporal, database, tmp_path)
    finally:
        database.close()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("no wheel with PostgreSQL for this machine")
    folder = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
    folder.chmod(0o755)
    server = Postgres(folder / "data", settings=(*QUICK, "fsync=on", "synchronous_commit=on"))
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
async def test_a_restart_of_postgresql_under_load_loses_nothing(
    temporal: Client, queue: str, own_postgres: Postgres, tmp_path: Path, how: signal.Signals
) -> None:
    first, second = (Database.open(own_postgres.url()) for _ in range(2))
    try:
        async with working(Indexer(temporal, first)) as one, working(Indexer(temporal, second)) as other:
            wanted: list[str] = []
            for number in range(ROUNDS):
                load = asyncio.create_task(some_runs(temporal, queue, random.Random(number), 20))

                async def begun(load: asyncio.Task[list[str]] = load) -> bool:
                    return load.done() or min(one.counts.rounds, other.counts.rounds) > 0

                await eventually(begun)
                await asyncio.to_thread(own_postgres.stop, how)
                wanted += await some_runs(temporal, queue, random.Random(100 + number), 8)

                async def noticed() -> bool:
                    return one.problem is not None and other.problem is not None

                await eventually(noticed, 60)
                wanted += await load
                await asyncio.to_thread(own_postgres.start)
                await complete(temporal, first, wanted)

                async def well() -> bool:
                    return one.problem is None and other.problem is None

                await eventually(well, 60)
        await same_as_anew(temporal, first, tmp_path)
    finally:
        first.close()
        second.close()


class _Clock(datetime):
    """A clock that is wrong by `off`."""

    off = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return datetime.now(tz) + cls.off  # type: ignore[return-value] # pyright: ignore[reportReturnType]


class _Ahead(_Clock):
    off = timedelta(hours=3)


class _Behind(_Clock):
    off = timedelta(hours=-3)


async def test_clocks_that_are_hours_off_hide_nothing(
    temporal: Client, queue: str, database: Database, tmp_path: Path
) -> None:
    wanted: list[str] = []
    for number, clock in enumerate((_Ahead, _Behind, _Ahead)):
        with pytest.MonkeyPatch.context() as patched:
            for module in ("indexer.round", "indexer.progress", "indexer.reading"):
                patched.setattr(f"holdfast.{module}.datetime", clock, raising=False)
            wanted += await some_runs(temporal, queue, random.Random(20 + number), 4)
            await Indexer(temporal, database).catch_up()

    async def all_there() -> bool:
        await Indexer(temporal, database).catch_up()
        return stored(database, wanted)

    await eventually(all_there, 30)
    await same_as_anew(temporal, database, tmp_path)


async def test_runs_that_temporal_deleted_during_an_outage_are_told_as_one(
    temporal: Client, database: Database
) -> None:
    await Indexer(temporal, database).catch_up()
    assert outages(database) == []
    stopped = datetime.now(UTC) - timedelta(days=40)  # the server keeps runs for a day
    with database.write() as connection:
        connection.execute(
            update(cursors).where(cursors.c.name.startswith("indexer/")).values(updated=stopped)
        )
    await asyncio.gather(*(Indexer(temporal, database).catch_up() for _ in range(2)))
    (outage,) = outages(database)
    assert abs(outage.since - stopped) < timedelta(seconds=10)
    assert stopped < outage.until < datetime.now(UTC)
    await Indexer(temporal, database).catch_up()
    assert len(outages(database)) == 1
    await Indexer(temporal, database).rebuild()
    assert len(outages(database)) == 1, "what is lost cannot be read again"
    assert outage.to_dict()["since"] == outage.since.isoformat()


async def test_where_temporals_data_was_set_back_the_store_tells_what_temporal_has(
    temporal: Client, queue: str, database: Database
) -> None:
    waits = await start(temporal, queue, 1, "wait")
    (ended,) = await some_runs(temporal, queue, random.Random(3), 1)

    async def told() -> bool:
        await Indexer(temporal, database).catch_up()
        return stored(database, [ended]) and stored(database, [waits.id], ("waiting",))

    await eventually(told, 30)
    before = contents(database)

    async def lie(run_id: str, state: RunState, closed: datetime | None) -> None:
        """Store what Temporal has lost: more events, and another end."""
        execution = WorkflowExecution(workflow_id=run_id)
        read = await read_described(temporal, await look(temporal, execution))
        events = read.run.history_event_count + 4
        run = replace(read.run, state=state, closed=closed, history_event_count=events)
        long_ago = datetime.now(UTC) - timedelta(hours=1)  # so it is looked at again at once
        write_runs(database, [replace(read, run=run, last_event_id=events, observed=long_ago)])

    async def as_before() -> bool:
        await Indexer(temporal, database).catch_up()
        return contents(database) == before

    await lie(waits.id, RunState.RUNNING, None)
    assert contents(database) != before
    await eventually(as_before, 30)
    await lie(waits.id, RunState.COMPLETED, datetime.now(UTC))
    await lie(ended, RunState.CANCELLED, datetime.now(UTC))
    assert contents(database) != before
    await eventually(as_before, 30)

    lost = made("lost", execution_id=str(uuid.uuid4()), started=datetime.now(UTC) - timedelta(seconds=5))
    write_runs(database, [lost])
    await Indexer(temporal, database).catch_up()
    assert rows(database, runs, id="lost")[0]["gap"] == UNKNOWN
    assert rows(database, runs, id=ended)[0]["gap"] is None
    await temporal.get_workflow_handle(waits.id).terminate()
