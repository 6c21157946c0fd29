"""Holdfast in a client and a worker that the user owns."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client as TemporalClient
from temporalio.client import WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    PayloadCodec,
)
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker import Worker as TemporalWorker
from tests.engine.support import eventually

from holdfast import Client, InvalidConfiguration, Plugin
from holdfast.engine import publishing

from .plugin_flows import CLOSED, OldClock, OldWorkflow, old_activity, ship


class Reversed(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(data=payload.SerializeToString()[::-1]) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(payload.data[::-1]) for payload in payloads]


async def connect(to: Client, *plugins: Plugin, **options: Any) -> TemporalClient:
    return await TemporalClient.connect(
        to.address, namespace=to.namespace, plugins=plugins or [Plugin([ship])], **options
    )


def worker(client: TemporalClient, **options: Any) -> TemporalWorker:
    return TemporalWorker(
        client,
        task_queue="default",
        workflows=[OldWorkflow, OldClock],
        activities=[old_activity],
        **options,
    )


async def old_result(client: TemporalClient) -> str:
    return await client.execute_workflow(
        OldWorkflow.run, "7", id=f"old-{uuid.uuid4().hex}", task_queue="default"
    )


async def test_both_kinds_of_workflows_run_on_one_worker(holdfast_client: Client) -> None:
    temporal = await connect(holdfast_client)
    async with worker(temporal), Client.wrap(temporal) as client:
        assert (client.address, client.namespace) == (holdfast_client.address, holdfast_client.namespace)
        assert client.searchable
        assert await client.run(ship, "7") == "7: 700 g"
        assert await old_result(temporal) == "old 7, 700 g, Parcel"


async def test_what_it_serves_is_published_where_a_database_is_named(
    holdfast_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", f"sqlite:///{tmp_path}/history.db")
    monkeypatch.setattr(publishing, "FIRST_SECONDS", 0.0)
    temporal = await connect(holdfast_client)
    async with worker(temporal, build_id="may"), Client.wrap(temporal) as client:

        async def names() -> list[tuple[str, bool]]:
            found = await client.workers.catalogue()
            return [(one.name, one.live) for one in found.workflows]

        assert await eventually(names, 60) == [("plugin.ship", True)]
        assert [build.name for build in (await client.workers.catalogue()).builds] == ["may"]


async def test_dependencies_close_with_the_worker(holdfast_client: Client) -> None:
    temporal = await connect(holdfast_client)
    CLOSED.clear()
    async with worker(temporal), Client.wrap(temporal) as client:
        await client.run(ship, "7")
        assert CLOSED == []
    assert CLOSED == ["scales"]


async def test_the_users_own_workflows_keep_their_guard(holdfast_client: Client) -> None:
    temporal = await connect(holdfast_client)
    async with worker(temporal, workflow_failure_exception_types=[Exception]):
        with pytest.raises(WorkflowFailureError) as raised:
            await temporal.execute_workflow(OldClock.run, id="clock", task_queue="default")
        assert "datetime.datetime.now" in str(raised.value.cause)


async def test_the_users_own_runner_is_used(holdfast_client: Client) -> None:
    temporal = await connect(holdfast_client)
    async with worker(temporal, workflow_runner=UnsandboxedWorkflowRunner()):
        assert await temporal.execute_workflow(OldClock.run, id="clock", task_queue="default")


async def test_two_workers_of_one_client(holdfast_client: Client) -> None:
    temporal = await connect(holdfast_client)
    async with (
        worker(temporal),
        TemporalWorker(temporal, task_queue="other"),
        Client.wrap(temporal) as client,
    ):
        here, there = await client.start(ship, "1"), await client.start(ship, "2", queue="other")
        assert await asyncio.gather(here.result(), there.result()) == ["1: 700 g", "2: 700 g"]


@pytest.mark.parametrize(
    "converter",
    [pydantic_data_converter, dataclasses.replace(DataConverter.default, payload_codec=Reversed())],
    ids=["pydantic", "codec"],
)
async def test_a_converter_that_can_carry_values_stays(
    holdfast_client: Client, converter: DataConverter
) -> None:
    temporal = await connect(holdfast_client, data_converter=converter)
    assert temporal.data_converter.payload_codec is converter.payload_codec
    async with worker(temporal), Client.wrap(temporal) as client:
        assert await client.run(ship, "7") == "7: 700 g"
        assert await old_result(temporal) == "old 7, 700 g, Parcel"


class Own(DefaultPayloadConverter):
    default_encoding_payload_converters: tuple[EncodingPayloadConverter, ...] = ()


async def test_what_cannot_work_is_refused(holdfast_client: Client) -> None:
    with pytest.raises(InvalidConfiguration, match="Own is not Temporal's default"):
        await connect(holdfast_client, data_converter=DataConverter(payload_converter_class=Own))
    bare = await TemporalClient.connect(holdfast_client.address, namespace=holdfast_client.namespace)
    with pytest.raises(InvalidConfiguration, match=r"give holdfast\.Plugin to Client"):
        worker(bare, plugins=[Plugin([ship])])
    with pytest.raises(InvalidConfiguration, match=r"plugins=\[holdfast"):
        await Client.wrap(bare)
    with ProcessPoolExecutor(1) as processes, pytest.raises(InvalidConfiguration, match="run on threads"):
        worker(await connect(holdfast_client), activity_executor=processes)


async def test_a_replayer_takes_the_plugin_too(holdfast_client: Client) -> None:
    temporal = await connect(holdfast_client)
    async with worker(temporal), Client.wrap(temporal) as client:
        run = await client.start(ship, "7")
        await run.result()
        await old_result(temporal)
        history = await run.history()
    replayed = await Replayer(workflows=[OldWorkflow], plugins=[Plugin([ship])]).replay_workflow(history)
    assert replayed.replay_failure is None
    with pytest.raises(RuntimeError, match="ship"):
        await Replayer(workflows=[OldWorkflow]).replay_workflow(history)
