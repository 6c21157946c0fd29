"""What a worker serves, and how it refuses and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast import (
    Client,
    InvalidConfiguration,
    InvalidWorkflow,
    NotFound,
    Worker,
    step,
    workflow,
)
from holdfast.testing import fresh_registry

from .support import until

LOG: list[str] = []


@step
async def work_a_while(seconds: float) -> str:
    LOG.append("begun")
    await asyncio.sleep(seconds)
    LOG.append("done")
    return "done"


@workflow
async def working(seconds: float) -> str:
    return await work_a_while(seconds)


@workflow(queue="other")
async def working_elsewhere(seconds: float) -> str:
    return await work_a_while(seconds)


@workflow(versioning="pinned")
async def pinned(seconds: float) -> str:
    return await work_a_while(seconds)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path / "shop_of_the_test"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "deep" / "__init__.py").write_text("")
    (folder / "models.py").write_text(
        "from pydantic import BaseModel\n\n\nclass Item(BaseModel):\n    name: str\n"
    )
    (folder / "steps.py").write_text(
        "from holdfast import step\n\nfrom .models import Item\n\n\n"
        "@step\nasync def wrap(item: Item) -> Item:\n    return Item(name=f'wrapped {item.name}')\n"
    )
    (folder / "deep" / "flows.py").write_text(
        "from holdfast import workflow\n\nfrom shop_of_the_test.models import Item\n"
        "from shop_of_the_test.steps import wrap\n\n\n"
        "@workflow\nasync def gift(item: Item) -> list[bool | str]:\n"
        "    wrapped = await wrap(item)\n"
        "    return [isinstance(item, Item), isinstance(wrapped, Item), wrapped.name]\n"
    )
    (folder / "top.py").write_text(
        "from holdfast import workflow\n\n\n@workflow\nasync def nothing() -> None:\n    return None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with fresh_registry():
        yield "shop_of_the_test"
    for name in [name for name in sys.modules if name.startswith("shop_of_the_test")]:
        del sys.modules[name]


@pytest.mark.parametrize("served", ["shop_of_the_test.*", "shop_of_the_test.deep.*"])
async def test_a_package_is_served_with_all_its_workflows(
    holdfast_client: Client, package: str, served: str
) -> None:
    async with Worker(holdfast_client, [served]):
        from importlib import import_module

        flows, models = import_module(f"{package}.deep.flows"), import_module(f"{package}.models")
        result = await holdfast_client.run(flows.gift, models.Item(name="book"))
        assert result == [True, True, "wrapped book"]


async def test_models_of_the_package_itself_stay_their_own_class(
    holdfast_client: Client, package: str, tmp_path: Path
) -> None:
    folder = tmp_path / package
    (folder / "__init__.py").write_text((folder / "models.py").read_text())
    (folder / "steps.py").write_text((folder / "steps.py").read_text().replace(".models", "."))
    flows = folder / "flows.py"
    flows.write_text((folder / "deep" / "flows.py").read_text().replace(".models import", " import"))
    (folder / "deep" / "flows.py").unlink()
    async with Worker(holdfast_client, [f"{package}.flows"]):
        from importlib import import_module

        module = import_module(f"{package}.flows")
        assert await holdfast_client.run(module.gift, module.Item(name="book")) == [
            True,
            True,
            "wrapped book",
        ]
        assert import_module(package).flows is module  # not the private copy of the run


def test_what_cannot_be_served_is_refused(holdfast_client: Client) -> None:
    make: Any = Worker
    for served, error, message in [
        (["no_such_module"], NotFound, "there is no module 'no_such_module'"),
        (["json.decoder.*"], NotFound, "is a module, not a package"),
        ([working.fn], InvalidWorkflow, "a worker cannot serve <function working"),
        ([42], InvalidWorkflow, "a worker cannot serve 42"),
        (working, InvalidWorkflow, r"give a list: \[working\]"),
        ("tests.engine", InvalidWorkflow, r"give a list: \['tests.engine'\]"),
        (sys, InvalidWorkflow, "give a list"),
        (5, InvalidWorkflow, "cannot serve 5: give a list of @workflow functions, modules"),
        (None, InvalidWorkflow, "cannot serve None: give a list of @workflow functions, modules"),
    ]:
        with pytest.raises(error, match=message):
            make(holdfast_client, served)
    for options in ({"deployment": "shop"}, {"build_id": "1"}):
        with pytest.raises(InvalidConfiguration, match="go together"):
            make(holdfast_client, [working], **options)
    for options in ({"max_steps": 0}, {"max_cached_runs": -1}, {"drain": 30}, {"max_workflow_tasks": 0}):
        with pytest.raises(InvalidConfiguration, match=next(iter(options))):
            make(holdfast_client, [working], **options)


async def test_a_worker_polls_the_queues_of_its_workflows(holdfast_client: Client) -> None:
    worker = Worker(holdfast_client, [working, working_elsewhere])
    assert worker.queues == ["default", "other"]
    async with worker:
        assert await holdfast_client.run(working, 0) == "done"
        assert await holdfast_client.run(working_elsewhere, 0) == "done"
        assert await holdfast_client.run(working, 0, queue="other") == "done"


async def test_running_steps_finish_before_a_worker_stops(holdfast_client: Client) -> None:
    LOG.clear()
    async with Worker(holdfast_client, [working]):
        run = await holdfast_client.start(working, 1)
        await until(lambda: LOG)
    assert LOG == ["begun", "done"]
    async with Worker(holdfast_client, [working]):
        assert await run.result() == "done"
    assert LOG == ["begun", "done"]


async def test_sigterm_drains_and_the_caller_goes_on(holdfast_client: Client) -> None:
    LOG.clear()
    worker = Worker(holdfast_client, [working])
    serving = asyncio.create_task(worker.run())
    await holdfast_client.start(working, 0.7)
    await until(lambda: LOG)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 10)
    assert LOG == ["begun", "done"]


async def test_a_step_longer_than_the_drain_is_cancelled_and_tried_again(holdfast_client: Client) -> None:
    LOG.clear()
    async with Worker(holdfast_client, [working], drain=timedelta(seconds=0.2)):
        run = await holdfast_client.start(working, 2)
        await until(lambda: LOG)
    assert LOG == ["begun"]
    async with Worker(holdfast_client, [working]):
        assert await run.result() == "done"
    assert LOG == ["begun", "begun", "done"]


async def test_health_answers_while_it_serves(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [working], health_port=0) as worker:
        port = worker.health_port
        await until(lambda: worker.polling)
        for path, wanted in [("/health", 200), ("/ready", 200), ("/else", 404)]:
            assert await asyncio.to_thread(_status, f"http://127.0.0.1:{port}{path}") == wanted
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"nonsense" * 2000)
        writer.close()
        assert await asyncio.to_thread(_status, f"http://127.0.0.1:{port}/health") == 200
        del reader
    with socket.socket() as free:
        assert free.connect_ex(("127.0.0.1", port or 0)) != 0


async def test_a_taken_health_port_is_named(holdfast_client: Client) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidConfiguration, match=f"health_port={port}"):
            async with Worker(holdfast_client, [working], health_port=port):
                pass
    assert await holdfast_client.runs.count() == 0


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def test_a_pinned_workflow_needs_a_deployment_to_be_pinned(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [pinned]):
        assert await holdfast_client.run(pinned, 0) == "done"
