"""Runs are found in the history and acted upon, one or many, and what was done is recorded."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.client.operation_flows import asking, broken, index, serving
from tests.engine.support import eventually

from holdfast import (
    Client,
    InvalidInput,
    NotFound,
    Run,
    RunFailed,
    RunState,
    Unavailable,
    Worker,
)
from holdfast.client.bulk import BulkReport
from holdfast.run_filter import RunFilter
from holdfast.store.bulks import Bulk, begin_bulk


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as made:
        yield made


async def start(client: Client, count: int, prefix: str = "ask") -> None:
    """Runs that wait; no worker is needed for that."""
    for first in range(0, count, 50):
        names = [f"{prefix}-{number}" for number in range(first, min(first + 50, count))]
        await asyncio.gather(*(client.start(asking, name, id=name) for name in names))
    await index(client)


async def test_runs_are_searched_counted_and_grouped(client: Client) -> None:
    broken.clear()
    broken.update({"tea", "x' OR '1'='1"})
    async with Worker(client, [serving]):
        for number, name in enumerate(["tea", "x' OR '1'='1", "nul\x00 😀", "=SUM(A1)", "y" * 10_000]):
            try:
                await client.run(serving, name, id=f"s-{number}")
            except RunFailed:
                assert name in broken
    await index(client)
    assert await client.runs.count(RunFilter()) == 5
    page = await client.runs.search(RunFilter(states=["failed"]))  # type: ignore[list-item]
    assert [run.id for run in page.runs] == ["s-1", "s-0"]
    for text in ("x' OR '1'='1", "nul\\u0000", "nul\x00", "😀", "=SUM(A1)", "yyyy"):
        assert await client.runs.count(RunFilter(text=text)) == 1, text
    for text in ("%", "' OR 1=1 --", '" OR "', "NEAR(", "z" * 10_000):
        assert await client.runs.count(RunFilter(text=text)) == 0, text
    first = await client.runs.search(limit=3)
    rest = await client.runs.search(limit=3, after=first.next)
    assert [run.id for run in [*first.runs, *rest.runs]] == ["s-4", "s-3", "s-2", "s-1", "s-0"]
    assert rest.next is None
    [group] = await client.runs.facets("error_type", RunFilter(workflows=["serving"]))
    assert (group.count, group.latest.id) == (2, "s-1")
    kinds = await client.runs.facets("fingerprint")
    assert [await client.runs.count(RunFilter(fingerprint=kind.value)) for kind in kinds] == [1, 1]
    with pytest.raises(InvalidInput, match="use one of"):
        await client.runs.facets("key")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="next"):
        await client.runs.search(after="1; DROP TABLE runs")
    with pytest.raises(InvalidInput, match="a text"):
        RunFilter(workflows="serving")
    with pytest.raises(InvalidInput, match="bogus"):
        RunFilter(states=["bogus"])  # type: ignore[list-item]
    stored = await client.runs.stored("s-0")
    assert (stored.state, [step.name for step in stored.steps]) == (RunState.FAILED, ["serve"])
    with pytest.raises(NotFound):
        await client.runs.stored("x' OR '1'='1")


async def test_each_action_is_recorded(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    await start(client, 2)
    run: Run[str] = client.get("ask-0")
    await run.pause("to look", by="Ada")
    await run.resume(by="Ada")
    await run.terminate('it\'s "enough"; DROP TABLE audit_log')
    with pytest.raises(Exception, match="ended"):
        await run.cancel("too late", by="Bob")
    told = [(action.what, action.who, action.why) for action in await client.runs.actions("ask-0")]
    assert told[0][:2] == ("cancel", "Bob")
    assert told[1][0] == "terminate"
    assert "@" in told[1][1]
    assert told[1][2] == 'it\'s "enough"; DROP TABLE audit_log'
    assert told[2:] == [("resume", "Ada", ""), ("pause", "Ada", "to look")]
    [failed, *_] = await client.runs.actions(by="Bob")
    assert failed.result.startswith("failed: ")
    assert [action.what for action in await client.runs.actions(what="pause")] == ["pause"]
    # The history is away: the action is done, and somebody is told.
    database = await client.store.database()
    with caplog.at_level(logging.WARNING, "holdfast.actions"), database.write():
        await client.get("ask-1").terminate()
    assert "may not be in the record" in caplog.text
    assert await client.get("ask-1").status() is RunState.TERMINATED


async def test_without_a_history_actions_are_just_done() -> None:
    async with Client.embedded(None) as client:
        run = await client.start(asking, "x")
        await run.terminate()
        assert await run.status() is RunState.TERMINATED
        with pytest.raises(Unavailable, match="holdfast indexer"):
            await client.runs.actions()


async def test_a_bulk_is_previewed_and_capped(client: Client) -> None:
    await start(client, 12)
    chosen = RunFilter(workflows=["asking"])
    preview = await client.runs.bulk("cancel", chosen, dry_run=True)
    assert (preview.matched, len(preview.examples), preview.id) == (12, 10, None)
    with pytest.raises(InvalidInput, match="12 runs fit"):
        await client.runs.bulk("cancel", chosen, max_runs=11)
    assert await client.runs.actions() == []
    with pytest.raises(InvalidInput, match="use one of"):
        await client.runs.bulk("explode", chosen)  # type: ignore[arg-type]
    report = await client.runs.bulk("pause", RunFilter(text="ask-1"), reason="lunch", by="Ada")
    assert (report.matched, report.done, report.failed, report.finished) == (3, 3, 0, True)
    [action] = await client.runs.actions("ask-11")
    assert (action.what, action.who, action.why) == ("pause", "Ada", "lunch")
    assert [action.what for action in await client.runs.actions(by="Ada", what="bulk pause")] == [
        "bulk pause"
    ]


async def test_a_bulk_that_was_interrupted_goes_on(client: Client) -> None:
    await start(client, 250)
    last: list[BulkReport] = []
    enough = asyncio.Event()

    def progress(report: BulkReport) -> None:
        last.append(report)
        if report.done >= 120:
            enough.set()

    chosen = RunFilter(workflows=["asking"])
    working = asyncio.create_task(client.runs.bulk("terminate", chosen, reason="over", progress=progress))
    await enough.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    bulk_id = last[-1].id
    assert bulk_id is not None
    [noted] = await client.runs.actions(what="bulk terminate")
    told = re.match(r"not finished: (\d+) done", noted.result)
    assert told is not None
    assert int(told[1]) >= 120  # also what was done of the chunk in which it was interrupted
    assert len(await client.runs.actions(what="terminate", limit=500)) == int(told[1])
    await index(client)
    report = await client.runs.continue_bulk(bulk_id)
    assert report.finished
    assert report.failed == 0
    assert report.done + report.skipped == report.matched == 250
    assert report.skipped < 100

    async def none_left() -> bool:  # visibility lags
        return await client.runs.count(open=True) == 0

    await eventually(none_left)
    assert (await client.runs.continue_bulk(bulk_id)).to_dict() == report.to_dict()
    with pytest.raises(NotFound):
        await client.runs.continue_bulk(bulk_id + 10_000)


async def test_what_a_killed_bulk_has_done_is_not_recorded_as_failed(client: Client) -> None:
    await start(client, 3)
    chosen = [await client.runs.stored(f"ask-{number}") for number in range(3)]
    doing = [[run.id, run.execution_id] for run in chosen]
    facts: dict[str, Any] = {"reason": "over", "by": "Ada", "matched": 3, "max_runs": 9, "filter": {}}
    # Killed within a chunk, when one was done: nothing but the chunk is noted.
    killed = await client.store.call(begin_bulk, Bulk(action="terminate", doing=doing, **facts))
    await client.temporal.get_workflow_handle("ask-0").terminate()
    report = await client.runs.continue_bulk(killed.id)
    assert (report.done, report.failed, report.skipped) == (2, 0, 1)
    done = await client.runs.actions(what="terminate")
    assert sorted((action.run_id, action.who, action.result.partition(":")[0]) for action in done) == [
        ("ask-0", "Ada", "skipped"),
        ("ask-1", "Ada", "done"),
        ("ask-2", "Ada", "done"),
    ]
    [skipped] = await client.runs.actions("ask-0")
    assert skipped.result.endswith(f"bulk operation {killed.id} may have done it before it was interrupted")
    # The same where a retry has made another execution.
    killed = await client.store.call(begin_bulk, Bulk(action="retry", doing=doing[:1], **facts))
    await client.get("ask-0").retry(by="Ada")
    report = await client.runs.continue_bulk(killed.id)
    assert (report.failed, report.skipped) == (0, 1)
    assert [
        action.result.partition(":")[0] for action in await client.runs.actions("ask-0", what="retry")
    ] == [
        "skipped",
        "done",
    ]
