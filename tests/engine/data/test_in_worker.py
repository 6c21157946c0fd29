from __future__ import annotations

import asyncio
import importlib
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RawValue
from temporalio.converter import PayloadCodec
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from holdfast.engine.data.blobs import DirectoryStorage
from holdfast.engine.data.codec import HoldfastCodec
from holdfast.engine.data.converter import make_data_converter
from holdfast.engine.data.keys import KeyRing
from holdfast.engine.data.refs import Ref
from holdfast.engine.data.step_data import StepData


@pytest.fixture
def flows(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The workflows, importable by the sandbox."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("data_flows")


class CountingStorage(DirectoryStorage):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read_bytes: list[int] = []

    def get(self, sha256: str) -> Payload:
        payload = super().get(sha256)
        self.read_bytes.append(payload.ByteSize())
        return payload


def client_of(
    server: WorkflowEnvironment, codec: PayloadCodec | None = None, storage: DirectoryStorage | None = None
) -> Client:
    config = server.client.config()
    config["data_converter"] = make_data_converter(codec=codec, storage=storage)
    return Client(**config)


def worker_of(client: Client, queue: str, workflows: Sequence[type], steps: Any) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows,
        activities=[steps.load, steps.count_rows, steps.count_parts, steps.fail],
        workflow_runner=SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_passthrough_modules("holdfast", "pydantic")
        ),
    )


async def history_bytes(client: Client, run_id: str) -> int:
    described = await client.get_workflow_handle(run_id).describe()
    return int(described.raw_description.workflow_execution_info.history_size_bytes)


async def test_45_mb_of_rows_go_from_step_to_step_past_the_workflow(
    server: WorkflowEnvironment, flows: Any, tmp_path: Path
) -> None:
    storage = CountingStorage(tmp_path)
    client = client_of(server, storage=storage)
    data = StepData(client.data_converter)
    async with worker_of(client, "q", [flows.Chain], flows.Steps(data, count=44_000)):
        raw: RawValue = await client.execute_workflow(
            "Chain", id="chain", task_queue="q", result_type=RawValue
        )
    assert await history_bytes(client, "chain") < 6_000
    assert [size for size in storage.read_bytes if size > 40e6] == [max(storage.read_bytes)]
    assert len(storage.read_bytes) == 1
    result = await data.decode(raw.payload, TypeAdapter(dict[str, str | int | Ref[list[flows.Row]]]))
    assert result["what"] == "Ref that does not load here"
    assert result["count"] == 44_000
    rows = result["rows"]
    assert isinstance(rows, Ref)
    assert rows.size_bytes > 44e6
    assert (await rows.load())[43_999] == flows.Row(id=43_999, text="x" * 1000)


@pytest.mark.parametrize("count", [1, 500, 5_000])
async def test_results_of_any_size_are_passed_on_alike(
    server: WorkflowEnvironment, flows: Any, tmp_path: Path, count: int
) -> None:
    codec = HoldfastCodec(compress=True, keys=KeyRing.parse(KeyRing.generate("k")))
    client = client_of(server, codec, DirectoryStorage(tmp_path))
    async with worker_of(client, "q", [flows.Gather], flows.Steps(StepData(client.data_converter), count)):
        found = await client.execute_workflow("Gather", id="gather", task_queue="q", result_type=int)
    assert found == 3 * count


async def test_a_run_whose_key_is_missing_waits_and_goes_on_when_it_is_added(
    server: WorkflowEnvironment, flows: Any
) -> None:
    old, new = KeyRing.generate("old"), KeyRing.generate("new")
    both = client_of(server, HoldfastCodec(keys=KeyRing.parse(f"{new},{old}")))
    run = await both.start_workflow(
        "Greet",
        "hello",
        id="greet",
        task_queue="q",
        result_type=str,
        start_signal="name",
        start_signal_args=["you"],
        task_timeout=timedelta(seconds=1),  # the SDK reports only the first failure, later ones time out
    )
    lacking = client_of(server, HoldfastCodec(keys=KeyRing.parse(old)))
    async with worker_of(lacking, "q", [flows.Greet], flows.Steps(StepData(lacking.data_converter))):
        async for event in run.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_failed_event_attributes"):
                break
    pending = (await run.describe()).raw_description.workflow_execution_info.status
    assert pending == 1
    async with worker_of(both, "q", [flows.Greet], flows.Steps(StepData(both.data_converter))):
        assert await asyncio.wait_for(run.result(), 30) == "hello you"


async def test_nothing_of_an_encrypted_run_is_readable_in_its_history(
    server: WorkflowEnvironment, flows: Any
) -> None:
    codec = HoldfastCodec(keys=KeyRing.parse(KeyRing.generate("k")))
    client = client_of(server, codec)
    run_id = f"failing-{uuid.uuid4()}"
    async with worker_of(client, "q", [flows.Failing], flows.Steps(StepData(client.data_converter))):
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow("Failing", id=run_id, task_queue="q")
    assert "the secret reason" in str(caught.value.cause.__cause__)
    history = await client.get_workflow_handle(run_id).fetch_history()
    text = history.to_json()
    assert "secret" not in text
    assert "data_flows.py" not in text


async def test_plain_payloads_stay_readable_to_other_sdks(server: WorkflowEnvironment, flows: Any) -> None:
    client = client_of(server)
    async with worker_of(client, "q", [flows.Greet], flows.Steps(StepData(client.data_converter))):
        run = await server.client.start_workflow(
            "Greet", "hello", id="greet", task_queue="q", result_type=str
        )
        await run.signal("name", "you")
        assert await run.result() == "hello you"
