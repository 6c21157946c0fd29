"""Two builds of one deployment: pinned runs stay on theirs, the others move to the current one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.service import RPCError

from holdfast import Client, workflow
from holdfast.authoring.registry import fresh_registry

from .conftest import Host, Scene, wait_is_open

APP = """
from holdfast import step, wait_for, workflow

BUILD = "{build}"

@step
async def build() -> str:
    return BUILD

@workflow(versioning="pinned")
async def stays() -> list[str]:
    before = await build()
    await wait_for("go", int)
    return [before, await build()]

@workflow(versioning="auto_upgrade")
async def moves() -> list[str]:
    before = await build()
    await wait_for("go", int)
    return [before, await build()]
"""

with fresh_registry():

    @workflow
    async def stays() -> list[str]:
        raise NotImplementedError

    @workflow
    async def moves() -> list[str]:
        raise NotImplementedError


async def host_of(scene: Scene, build: str) -> Host:
    folder = scene.folder / build
    folder.mkdir()
    (folder / "versioned_app.py").write_text(APP.format(build=build))
    return await scene.host(
        {"PYTHONPATH": str(folder)}, served=["versioned_app"], deployment="shop", build_id=build
    )


async def make_current(client: Client, build: str) -> None:
    """Route new and moving runs to a build, as `temporal worker deployment set-current-version` does."""
    async with asyncio.timeout(20):
        while True:
            try:
                await client.temporal.workflow_service.set_worker_deployment_current_version(
                    SetWorkerDeploymentCurrentVersionRequest(
                        namespace=client.namespace,
                        deployment_name="shop",
                        build_id=build,
                        ignore_missing_task_queues=True,
                    )
                )
                return
            except RPCError:
                # The server has not seen the worker's polls yet.
                await asyncio.sleep(0.1)


async def test_pinned_runs_stay_on_their_build_and_the_others_move(scene: Scene, client: Client) -> None:
    await host_of(scene, "one")
    await make_current(client, "one")
    pinned, moving = await client.start(stays), await client.start(moves)
    for run in (pinned, moving):
        await wait_is_open(run)
    assert (await pinned.describe()).build_id == "one"
    await host_of(scene, "two")
    await make_current(client, "two")
    # Routing reaches the queues a moment after the call.
    await asyncio.sleep(1)
    for run in (pinned, moving):
        await run.send("go", 1)
    assert await pinned.result(timeout=timedelta(seconds=20)) == ["one", "one"]
    assert await moving.result(timeout=timedelta(seconds=20)) == ["one", "two"]
    fresh = await client.start(stays)
    await fresh.send("go", 1)
    assert await fresh.result(timeout=timedelta(seconds=20)) == ["two", "two"]
