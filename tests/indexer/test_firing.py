"""Triggers of events on a real server, with a real indexer: each event starts one run at most."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.service import RPCError
from tests.engine.support import eventually
from tests.indexer.firing_flows import (
    SERVED,
    fi_dag,
    fi_etl,
    fi_loop,
    fi_outer,
    fi_report,
    fi_tells,
    fired,
    letters,
    served,
)

from holdfast import Client, InvalidInput, Unavailable, Worker
from holdfast.errors import Conflict
from holdfast.indexer import Indexer
from holdfast.indexer.firing import Firing
from holdfast.store.events import prune_events, read_page
from holdfast.store.schema import cursors, triggers
from holdfast.store.triggers import lost_events
from holdfast.triggers import OnEvent


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("firing") / ".holdfast"


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    async with served(home) as made:
        yield made


async def test_an_event_starts_one_run_with_the_whole_result(client: Client) -> None:
    before = await client.start(fi_etl, 1, id="before")
    await before.result()
    on = OnEvent(
        "workflow.completed",
        where="payload.workflow == 'fi_etl'",
        input="{'rows': payload.result.rows, 'title': payload.result.text + event.run_id}",
    )
    made = await client.triggers.create("report", fi_report, on=on)
    assert (made.kind, made.workflow, made.next) == ("event", "fi_report", ())
    await (await client.start(fi_etl, 3, id="small")).result()
    await (await client.start(fi_etl, 2000, id="large")).result()
    results = await fired(client, "report", 2)
    assert sorted(results) == ["2000 " + "x" * 2000 + "large", "3 xxxsmall"]
    # From the beginning again, as after a crash before the cursor was kept: nothing more.
    database = await client.store.database()
    with database.write() as connection:
        connection.execute(cursors.delete().where(cursors.c.name.startswith("subscription/")))
    assert await Firing(client.temporal, database).step() == 0
    assert letters(database) == []
    found = await client.triggers.get("report")
    assert len(found.last) == 2
    described = await client.get(found.last[0].run_id).describe()
    assert described.trigger == "report"


async def test_a_dag_is_started_and_its_input_checked(client: Client) -> None:
    await client.triggers.create("dag", fi_dag, on=OnEvent("numbers", input="payload"))
    database = await client.store.database()
    for payload in ({"rows": 7}, {"columns": 7}, "text"):
        await client.events.publish("numbers", payload)
    assert await fired(client, "dag") == [7]
    told = letters(database)
    assert len(told) == 2
    assert all("input_schema" in row["error_message"] and row["workflow"] == "fi-dag" for row in told)


async def test_a_trigger_that_is_made_while_events_are_read_misses_none(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, loop = await client.store.database(), asyncio.get_running_loop()
    await client.triggers.create("first", fi_report, on=OnEvent("orders", input="{'rows': payload.rows}"))
    made: list[Any] = []

    def read_late(*given: Any) -> Any:
        if not made:
            work = client.triggers.create("second", fi_report, on=OnEvent("invoices", input="payload"))
            made.append(asyncio.run_coroutine_threadsafe(work, loop).result())
            publishing = client.events.publish("invoices", {"rows": 8})
            asyncio.run_coroutine_threadsafe(publishing, loop).result()
        return read_page(*given)

    monkeypatch.setattr("holdfast.indexer.firing.read_page", read_late)
    await client.events.publish("orders", {"rows": 7})
    assert await Firing(client.temporal, database).step() == 2
    assert await fired(client, "first") == ["7 none"]
    assert await fired(client, "second") == ["8 none"]


async def test_what_a_run_emits_starts_runs(client: Client) -> None:
    await client.triggers.create("odd", fi_report, on=OnEvent("fi*odd", input="{'rows': 1}"))
    await client.triggers.create(
        "told", fi_report, on=OnEvent("fi.paid", input="{'rows': payload.payload.rows}")
    )
    await client.run(fi_tells, id="tells")
    await client.events.publish("fi.paid", {"payload": {"rows": 9}})
    assert sorted(await fired(client, "told", 3)) == ["5 none", "6 none", "9 none"]
    assert letters(await client.store.database()) == []


async def test_triggers_do_not_start_each_other_for_ever(client: Client) -> None:
    await client.triggers.create(
        "loop",
        fi_loop,
        on=OnEvent("workflow.completed", where="payload.workflow == 'fi_loop'", input="payload.result"),
    )
    await client.run(fi_loop, 0)
    assert len(await fired(client, "loop", 10)) == 10
    database = await client.store.database()

    async def refused() -> bool:
        await Indexer(client.temporal, database).catch_up()
        await Firing(client.temporal, database).step()
        return bool(letters(database))

    await eventually(refused, 20)
    assert "10 runs in a row" in letters(database)[0]["error_message"]
    assert (await client.runs.count(workflow="fi_loop")) == 11


async def test_children_count_as_their_parents(client: Client) -> None:
    on = OnEvent("workflow.completed", where="payload.workflow == 'fi_etl'", input=None)
    await client.triggers.create("nested", fi_outer, on=on)
    await client.run(fi_outer)
    assert await fired(client, "nested", 2) == [1, 1]
    (first, second) = [
        (await client.temporal.get_workflow_handle(run.run_id).describe())
        for run in (await client.triggers.get("nested")).last[-2:]
    ]
    depths = [(await one.memo())["holdfast.trigger"]["depth"] for one in (first, second)]
    assert sorted(depths) == [1, 2]


async def test_paused_ones_leave_out_what_comes(client: Client) -> None:
    database = await client.store.database()
    await client.triggers.create("quiet", fi_report, on=OnEvent("orders", input="{'rows': payload}"))
    await client.triggers.pause("quiet", "holidays")
    await client.events.publish("orders", 1)
    assert await Firing(client.temporal, database).step() == 0
    assert (await client.triggers.get("quiet")).note == "holidays"
    await client.triggers.resume("quiet")
    await client.events.publish("orders", 2)
    assert await fired(client, "quiet") == ["2 none"]
    run = await client.triggers.fire("quiet", 5)
    assert run is not None
    assert await run.result() == "5 none"
    with pytest.raises(InvalidInput):
        await client.triggers.fire("quiet", "many")
    with pytest.raises(Conflict):
        await client.triggers.create("quiet", fi_report, on=OnEvent("orders"))
    await client.triggers.delete("quiet")
    assert [found.name for found in await client.triggers.list()] == []


async def test_what_is_published_counts_whatever_the_clocks_say(client: Client) -> None:
    database = await client.store.database()
    await client.triggers.create("early", fi_report, on=OnEvent("orders", input="{'rows': payload}"))
    with database.write() as connection:
        connection.execute(triggers.update().values(since=datetime.now(UTC) + timedelta(hours=3)))
    await client.events.publish("orders", 6)
    assert await fired(client, "early") == ["6 none"]


async def test_events_that_were_deleted_unseen_are_noted(client: Client) -> None:
    database = await client.store.database()
    await client.triggers.create("lost", fi_report, on=OnEvent("orders", input="{'rows': payload}"))
    seen = await client.events.publish("orders", 1)
    assert await Firing(client.temporal, database).step() == 1
    unseen = await client.events.publish("orders", 2)
    assert seen is not None
    assert unseen is not None
    prune_events(database, datetime.now(UTC) + timedelta(hours=1))
    await client.events.publish("orders", 3)
    assert await Firing(client.temporal, database).step() == 1
    with database.read() as connection:
        lost = lost_events(connection)
    assert lost is not None
    assert seen <= lost.after < unseen <= lost.until


async def test_an_indexer_fires_by_itself_and_waits_for_temporal(tmp_path: Path) -> None:
    """The events come while Temporal is away; they are not lost."""
    from holdfast.engine import embedded

    home = tmp_path / ".holdfast"
    async with Client.embedded(home) as client:
        await client.triggers.create("late", fi_report, on=OnEvent("orders", input="{'rows': payload}"))
        await client.events.publish("orders", 3)
        database = await client.store.database()
        firing = Firing(client.temporal, database)
        await asyncio.to_thread(asyncio.run, embedded.stop(home))
        with contextlib.suppress(Unavailable, RPCError):  # unless the server was still ending
            await asyncio.wait_for(firing.step(), 20)
        assert letters(database) == []
    async with Client.embedded(home) as client, Worker(client, SERVED):
        indexers = [asyncio.create_task(Indexer(client.temporal, database).run()) for _ in range(2)]
        try:

            async def look() -> Any:
                return (await client.triggers.get("late")).last

            (found,) = await eventually(look, 30)
            assert await client.get(found.run_id).result() == "3 none"
        finally:
            for task in indexers:
                task.cancel()
            await asyncio.wait(indexers)


@pytest.mark.parametrize(
    ("event", "options"),
    [
        ("workflow.complete", {}),
        ("runs", {}),
        ("", {}),
        ("a b", {}),
        ("workflow.completed", {"where": "payload."}),
        ("workflow.completed", {"where": "paylod.x"}),
        ("workflow.completed", {"input": "secrets.KEY"}),
        ("workflow.completed", {"where": "(" * 5000}),
    ],
)
def test_wrong_events_and_expressions_are_refused(event: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        OnEvent(event, **options)
