"""Triggers of events on a real server, with a real indexer: each event starts one run at most."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.service import RPCError
from tests.engine.support import eventually
from tests.indexer.flows import rows

from holdfast import Client, Dag, InvalidInput, NotFound, Unavailable, Worker, emit, workflow
from holdfast.errors import Conflict
from holdfast.indexer import Indexer
from holdfast.indexer.firing import Firing
from holdfast.store.database import Database
from holdfast.store.events import prune_events, read_page
from holdfast.store.schema import cursors, dead_letters, triggers
from holdfast.store.triggers import lost_events
from holdfast.triggers import OnEvent


@workflow
async def fi_etl(size: int) -> dict[str, Any]:
    return {"rows": size, "text": "x" * size}


@workflow
async def fi_report(rows: int, title: str = "none") -> str:
    return f"{rows} {title}"


@workflow
async def fi_loop(round: int = 0) -> int:
    return round + 1


@workflow
async def fi_outer() -> int:
    return int((await fi_etl(1))["rows"])


@workflow
async def fi_tells() -> None:
    await emit("fi.paid", {"rows": 5})
    await emit("fi.paid", {"rows": 6})


fi_dag = Dag("fi-dag", input_schema={"type": "object", "required": ["rows"]})


@fi_dag.step
async def fi_count(input: dict[str, Any]) -> int:
    return int(input["rows"])


SERVED = [fi_etl, fi_report, fi_loop, fi_outer, fi_tells]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("firing") / ".holdfast"


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    async with Client.embedded(home) as made, Worker(made, SERVED):
        yield made
        for found in await made.triggers.list():
            await made.triggers.delete(found.name)
        database = await made.store.database()
        with database.write() as connection:
            connection.execute(dead_letters.delete())


async def fired(client: Client, name: str, count: int = 1) -> list[Any]:
    """Index and fire until a trigger has started so many runs, and their results."""
    database = await client.store.database()

    async def look() -> Any:
        await Indexer(client.temporal, database).catch_up()
        await Firing(client.temporal, database).step()
        query = f'WorkflowId STARTS_WITH "trigger-{name}-"'
        found = [
            run
            async for run in client.temporal.list_workflows(query)
            if "holdfast.trigger" in await run.memo()
        ]
        return found if len(found) >= count else None

    found = await eventually(look, 30)
    return [await client.get(run.id).result() for run in reversed(found)]


def letters(database: Database) -> list[dict[str, Any]]:
    return [row for row in rows(database, dead_letters) if row["kind"] == "trigger"]


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


async def test_what_cannot_be_delivered_is_a_dead_letter(client: Client) -> None:
    database = await client.store.database()
    for name, on in {
        "missing": OnEvent("orders", input="payload.none"),
        "wrong-type": OnEvent("orders", input="{'rows': 'many'}"),
        "unknown": OnEvent("orders", input="{'rows': 1, 'columns': 2}"),
        "no-object": OnEvent("orders", input="5"),
        "no-condition": OnEvent("orders", where="payload.id", input="{'rows': 1}"),
        "costly": OnEvent("orders", where="payload.list.all(a, payload.list.all(b, a != b || true))"),
        "fits": OnEvent("orders", where="payload.id == 'a'", input="{'rows': 1}"),
        "does-not": OnEvent("orders", where="payload.id == 'b'", input="{'rows': 1}"),
    }.items():
        await client.triggers.create(name, fi_report, on=on)
    await client.events.publish("orders", {"id": "a", "list": list(range(1000)), "nul": "\0\ud800"})
    assert await Firing(client.temporal, database).step() == 1
    told = {row["payload"]["trigger"]: row["error_message"] for row in letters(database)}
    assert told.keys() == {"missing", "wrong-type", "unknown", "no-object", "no-condition", "costly"}
    assert "'none'" in told["missing"]
    assert "rows" in told["wrong-type"]
    assert "'columns'" in told["unknown"]
    assert await Firing(client.temporal, database).step() == 0
    assert len(letters(database)) == 6


async def test_a_condition_without_a_value_is_one_letter_however_many_events_there_are(
    client: Client,
) -> None:
    database = await client.store.database()
    on = OnEvent("orders", where="payload.total > 3", input="{'rows': payload.total}")
    await client.triggers.create("large", fi_report, on=on)
    for number in range(3):
        await client.events.publish("orders", {"number": number})
    await client.events.publish("orders", {"total": 4})
    assert await Firing(client.temporal, database).step() == 1
    [letter] = letters(database)
    assert (letter["status"], "'total'" in letter["error_message"]) == ("pending", True)
    last = (letter["payload"]["count"], letter["payload"]["event"]["at"], letter["failed"].isoformat())
    # Looked at again they are the same three; the next one counts.
    with database.write() as connection:
        connection.execute(cursors.delete().where(cursors.c.name.startswith("subscription/")))
    await Firing(client.temporal, database).step()
    [letter] = letters(database)
    assert last == (3, letter["payload"]["event"]["at"], letter["payload"]["event"]["at"])
    assert letter["payload"]["count"] == 3
    await client.events.publish("orders", {"number": 4})
    await Firing(client.temporal, database).step()
    [letter] = letters(database)
    assert (letter["payload"]["count"], letter["failed"].isoformat() > last[2]) == (4, True)
    # With another condition it would be another one.
    await client.triggers.update("large", on=OnEvent("orders", where="payload.sum > 3"))
    await client.events.publish("orders", {"number": 3})
    assert await Firing(client.temporal, database).step() == 0
    assert len(letters(database)) == 2


async def test_a_result_that_cannot_be_read_stops_no_other_trigger(client: Client, home: Path) -> None:
    database = await client.store.database()
    for name, on in {
        "reads": OnEvent("workflow.completed", input="{'rows': payload.result.rows}"),
        "asks": OnEvent("workflow.completed", where="payload.result.rows > 0", input="{'rows': 1}"),
        "elsewhere": OnEvent("workflow.completed", where="payload.workflow == 'x'", input="payload.result"),
        "works": OnEvent(
            "workflow.completed",
            where="payload.workflow == 'fi_etl'",
            input="{'rows': 1}",
        ),
    }.items():
        await client.triggers.create(name, fi_report, on=on)
    await client.run(fi_etl, 6_000_000, id="unreadable")
    await Indexer(client.temporal, database).catch_up()
    kept = home / "blobs"
    kept.rename(home / "away")
    try:
        assert await Firing(client.temporal, database).step() == 1
    finally:
        shutil.rmtree(kept, ignore_errors=True)
        (home / "away").rename(kept)
    told = {row["payload"]["trigger"]: row for row in letters(database)}
    assert told.keys() == {"reads", "asks"}
    assert all("'unreadable'" in row["error_message"] for row in told.values())
    assert not told["reads"]["payload"]["input_made"]
    # What was settled stays so, also where the event is looked at again.
    await client.dead_letters.discard(told["reads"]["id"], "gone")
    with database.write() as connection:
        connection.execute(cursors.delete().where(cursors.c.name.startswith("subscription/")))
    await Firing(client.temporal, database).step()
    assert {row["payload"]["trigger"]: row["status"] for row in letters(database)}["reads"] == "abandoned"


async def test_letters_of_triggers_are_redriven_by_the_trigger(client: Client) -> None:
    database = await client.store.database()
    await Indexer(client.temporal, database).catch_up()
    await client.triggers.create(
        "dag", fi_dag, on=OnEvent("sums", where="payload.ok", input="{'rows': payload.rows}")
    )
    await client.triggers.create("two", fi_report, on=OnEvent("sums", input="{'rows': payload.text}"))
    await client.triggers.create("none", fi_report, on=OnEvent("sums", input="payload.none"))
    await client.triggers.create("cut", fi_report, on=OnEvent("sums", input="{'title': payload.long}"))
    await client.events.publish("sums", {"rows": 7, "text": "many", "long": "x" * 5000})
    assert await Firing(client.temporal, database).step() == 0
    told = {row["payload"]["trigger"]: row["id"] for row in letters(database)}

    async def result(name: str, **options: Any) -> Any:
        run = (await client.dead_letters.redrive(told[name], **options)).redriven_as
        assert run is not None
        return await client.get(run).result()

    assert await result("dag") == 7
    for name in ("none", "cut"):
        with pytest.raises(InvalidInput, match="give the input"):
            await client.dead_letters.redrive(told[name])
    with pytest.raises(InvalidInput, match="rows"):
        await client.dead_letters.redrive(told["two"])
    assert await result("two", input={"rows": 4, "title": "edited"}) == "4 edited"
    assert await result("cut", input={"rows": 3}) == "3 none"
    await client.triggers.delete("none")
    with pytest.raises(NotFound, match="'none'"):
        await client.dead_letters.redrive(told["none"], input={"rows": 1})
    assert (await client.dead_letters.get(told["none"])).status == "pending"


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
