"""Runs that cannot go on say why, and go on once that is mended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast import Client, workflow
from holdfast.authoring.registry import fresh_registry
from holdfast.engine.data.keys import KeyRing

from .conftest import Scene, thorough, until_stuck, wait_is_open
from .served import nobody_serves, waiting

CHANGING = """
from holdfast import step, wait_for, workflow

@step
async def {first}(label: str) -> str:
    return label

@workflow
async def changing(label: str) -> str:
    await {first}(label)
    await wait_for("go", int)
    return "{first}"
"""

with fresh_registry():

    @workflow
    async def changing(label: str) -> str:
        raise NotImplementedError

    @workflow
    async def unregistered() -> None:
        raise NotImplementedError


async def test_a_queue_without_a_worker_is_named(client: Client) -> None:
    run = await client.start(nobody_serves)
    reason = await until_stuck(run, "no worker")
    assert "'elsewhere'" in reason
    assert "'nobody_serves'" in reason


async def test_a_workflow_that_no_worker_knows_is_named(scene: Scene, client: Client) -> None:
    await scene.host()
    run = await client.start(unregistered)
    reason = await until_stuck(run, "do not know")
    assert "'unregistered'" in reason
    assert "'default'" in reason


@thorough
async def test_changed_code_is_named_and_the_run_completes_after_a_rollback(
    scene: Scene, client: Client
) -> None:
    for name in ("one", "two"):
        (scene.folder / name).mkdir()
        (scene.folder / name / "changing_app.py").write_text(CHANGING.format(first=f"step_{name}"))
    old = await scene.host({"PYTHONPATH": str(scene.folder / "one")}, served=["changing_app"])
    run = await client.start(changing, "x")
    await wait_is_open(run)
    old.terminate()
    new = scene.start_host({"PYTHONPATH": str(scene.folder / "two")}, served=["changing_app"])
    assert await old.ended(10) == 0
    await new.serving()
    await run.send("go", 1)
    reason = await until_stuck(run, "non-determinism")
    assert "step_one" in reason or "step_two" in reason
    new.terminate()
    assert await new.ended(10) == 0
    await scene.host({"PYTHONPATH": str(scene.folder / "one")}, served=["changing_app"])
    assert await run.result(timeout=timedelta(seconds=30)) == "step_one"


@thorough
async def test_an_undecryptable_payload_is_named_and_the_run_goes_on_with_the_key(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = KeyRing.generate("ours"), KeyRing.generate("theirs")
    wrong = await scene.host({"HOLDFAST_ENCRYPTION_KEYS": theirs})
    monkeypatch.setenv("HOLDFAST_ENCRYPTION_KEYS", f"{ours},{theirs}")
    async with scene.client() as client:
        run = await client.start(waiting, ["secret"])
        await run.send("secret", 42)
        reason = await until_stuck(run, "read a payload")
        assert "'ours'" in reason
        wrong.terminate()
        assert await wrong.ended(10) == 0
        await scene.host({"HOLDFAST_ENCRYPTION_KEYS": f"{theirs},{ours}"})
        assert await run.result(timeout=timedelta(seconds=30)) == [42]
