"""Events that start nothing since something is wrong: each is a dead letter, and stops no other."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.indexer.firing_flows import (
    fi_dag,
    fi_etl,
    fi_report,
    letters,
    served,
)

from holdfast import Client, InvalidInput, NotFound, Run
from holdfast.indexer import Indexer
from holdfast.indexer.firing import Firing
from holdfast.store.schema import cursors
from holdfast.triggers import OnEvent


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("firing") / ".holdfast"


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    async with served(home) as made:
        yield made


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
        again: Run[Any] = client.get(run)
        return await again.result()

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
