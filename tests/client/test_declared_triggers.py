"""Triggers that workflows declare, as workers and `sync` make them."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.trigger_flows import tf_report, tf_simple
from tests.engine.support import eventually

from holdfast import Client, InvalidInput, Worker, Workflow, workflow
from holdfast.authoring.registry import fresh_registry
from holdfast.client.trigger_info import TriggerInfo
from holdfast.triggers import Cron, Interval, OnEvent, Trigger

ALL = ["tf-eu", "tf-orders", "tf_simple"]
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("declared") / ".holdfast"


@pytest.fixture
async def client(home: Path) -> AsyncIterator[Client]:
    async with Client.embedded(home) as made:
        yield made
        for found in await made.triggers.list():
            await made.triggers.delete(found.name)
        await listed(made, 0)


async def listed(client: Client, count: int) -> list[TriggerInfo]:
    """The list as soon as it has so many: the server's lags."""

    async def look() -> Any:
        found = await client.triggers.list()
        return (found,) if len(found) == count else None

    (found,) = await eventually(look)
    return found  # type: ignore[no-any-return]


def simple(*triggers: Any) -> Workflow[[], None]:
    """`tf_simple` as another version of its code declares it."""
    with fresh_registry():

        async def tf_simple() -> None: ...

        return workflow(triggers=triggers)(tf_simple)


async def test_a_worker_registers_what_its_workflows_declare(client: Client) -> None:
    async with Worker(client, [tf_simple, tf_report]):
        found = await client.triggers.get("tf-eu")
        assert (found.on, found.owner) == (
            "0 9 * * * Europe/Berlin",
            "tests.client.trigger_flows:tf_report",
        )
        assert found.policy is not None
        assert found.policy.overlap == "allow_all"
        assert (await client.triggers.get("tf-orders")).on == "event tf-orders"
        assert (await client.triggers.get("tf_simple")).on == "every 2:00:00"
    report = await client.triggers.sync([tf_simple, tf_report])
    assert (list(report.created), list(report.updated)) == ([], [])
    assert sorted(report.unchanged) == ALL


async def test_what_changes_is_changed_and_stays_paused(client: Client) -> None:
    await client.triggers.sync([tf_simple])
    await client.triggers.pause("tf_simple", "later")
    report = await client.triggers.sync([simple(Interval(HOUR))])
    assert list(report.updated) == ["tf_simple"]
    found = await client.triggers.get("tf_simple")
    assert (found.on, found.paused, found.note) == ("every 1:00:00", True, "later")
    await client.triggers.update("tf_simple", on=Interval(3 * HOUR))
    report = await client.triggers.sync([simple(Interval(HOUR))])
    assert list(report.updated) == ["tf_simple"]  # by hand it was made something else


async def test_what_is_declared_no_more_is_told_and_pruned_on_demand(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await client.triggers.sync([tf_simple, tf_report])
    await client.triggers.create("by-hand", tf_simple, on=Interval(HOUR))
    await listed(client, 4)
    other = simple(Trigger(Interval(HOUR), name="other"))
    with caplog.at_level(logging.WARNING):
        await client.triggers.register([other])
    assert "'tf_simple' is declared no more" in caplog.text
    assert {found.name for found in await listed(client, 5)} == {
        *ALL,
        "by-hand",
        "other",
    }
    report = await client.triggers.sync([other], prune=True)
    assert list(report.pruned) == ["tf_simple"]
    names = {found.name for found in await listed(client, 4)}
    assert names == {"tf-eu", "tf-orders", "by-hand", "other"}


async def test_what_was_made_otherwise_is_left(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    await client.triggers.create("tf_simple", tf_report, "us", on=Interval(5 * HOUR))
    await client.triggers.create("tf-eu", tf_report, on=OnEvent("else", input="'us'"))
    with caplog.at_level(logging.ERROR):
        await client.triggers.register([tf_simple, tf_report])
    assert "'tf_simple' is declared here, and was made otherwise" in caplog.text
    assert (await client.triggers.get("tf_simple")).workflow == "tf_report"
    report = await client.triggers.sync([tf_simple, tf_report], prune=True)
    assert sorted(report.refused) == ["tf-eu", "tf_simple"]
    assert list(report.pruned) == []


async def test_two_processes_sync_at_once(client: Client, home: Path) -> None:
    command = [sys.executable, "-m", "tests.client.trigger_flows", str(home)]
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    for out, err in outputs:
        assert out.decode().strip() == str(ALL), err.decode()
    found = await listed(client, 3)
    assert sorted(one.name for one in found) == ALL


def test_declarations_that_cannot_be_are_refused_at_import() -> None:
    with pytest.raises(InvalidInput, match="give each a name"):
        simple(Interval(HOUR), Cron("0 0 * * *"))
    with pytest.raises(InvalidInput, match="two triggers 'a'"):
        simple(Trigger(Interval(HOUR), name="a"), Trigger(Interval(HOUR), name="a"))
    with pytest.raises(InvalidInput, match="on="):
        simple("0 0 * * *")
    with pytest.raises(InvalidInput, match="makes the run's input"):
        Trigger(OnEvent("x"), args=(1,))
    with pytest.raises(InvalidInput, match="a name is"):
        Trigger(Interval(HOUR), name="a b")


async def test_arguments_that_do_not_fit_are_told_with_the_trigger(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = simple(Trigger(Interval(HOUR), name="wrong", args=(1, 2)))
    with pytest.raises(InvalidInput, match=r"trigger 'wrong': .* got 2 arguments"):
        await client.triggers.sync([wrong])
    with caplog.at_level(logging.ERROR):
        await client.triggers.register([wrong])
    assert "trigger 'wrong'" in caplog.text
