"""A DAG is edited, then deleted, while fifty of its runs sleep: each goes on with the document it started with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from holdfast import Client, Run
from holdfast.authoring.dag import Dag
from holdfast.authoring.registry import fresh_registry

from .conftest import Host, Scene

RUNS = 50

# Three states of one program: the second edits the DAG and its step's options, the third has no DAG any more.
FIRST = """
from holdfast import Dag, step

@step(name="edited.mark")
async def mark(label: str, before: str | None) -> str:
    return f"{before or ''}{label}"

edited = Dag("edited")
edited.add_step(mark, id="first", arguments={"label": "one", "before": None})
edited.add_wait("pause", "go", depends_on=["first"])
edited.add_step(mark, id="last", arguments={"label": " one", "before": "{{ first }}"}, depends_on=["pause"])
"""
SECOND = """
from holdfast import Dag, step

@step(name="edited.mark", local=True, retry="none")
async def mark(label: str, before: str | None) -> str:
    return f"{before or ''}{label}"

edited = Dag("edited")
edited.add_step(mark, id="last", arguments={"label": "two", "before": None})
edited.add_wait("pause", "go", depends_on=["last"])
edited.add_step(mark, id="first", arguments={"label": " two", "before": "{{ last }}"}, depends_on=["pause"])
edited.add_step(mark, id="extra", arguments={"label": " two", "before": "{{ first }}"})
"""
THIRD = """
from holdfast import step

@step(name="edited.mark")
async def mark(label: str, before: str | None) -> str:
    return f"{before or ''}{label}"
"""


async def host_of(scene: Scene, name: str, program: str) -> Host:
    folder = scene.folder / name
    folder.mkdir()
    (folder / "edited_app.py").write_text(program)
    return await scene.host({"PYTHONPATH": str(folder)}, served=["edited_app"])


def dag_of(program: str) -> Dag:
    """The DAG as the program has it, for the client that starts it."""
    with fresh_registry():
        found: dict[str, object] = {"__name__": "edited_app"}
        exec(program, found)
    dag = found["edited"]
    assert isinstance(dag, Dag)
    return dag


async def until_paused(run: Run[Any]) -> None:
    async with asyncio.timeout(60):
        while (await run.state())["nodes"]["pause"]["state"] != "waiting":  # noqa: ASYNC110 - the run is elsewhere
            await asyncio.sleep(0.5)


async def end(host: Host) -> None:
    host.terminate()
    await host.ended(20)


async def finish(runs: Sequence[Run[Any]], result: str) -> None:
    await asyncio.gather(*(run.send("go", None) for run in runs))
    assert await asyncio.gather(*(run.result() for run in runs)) == [result] * len(runs)


async def test_sleeping_runs_finish_on_the_version_they_started_with(scene: Scene, client: Client) -> None:
    old = await host_of(scene, "first", FIRST)
    first, second = dag_of(FIRST), dag_of(SECOND)
    sleeping = await asyncio.gather(*(client.start(first, id=f"old-{number}") for number in range(RUNS)))
    await asyncio.gather(*(until_paused(run) for run in sleeping))
    await end(old)
    edited = await host_of(scene, "second", SECOND)
    newer = await client.start(second, id="new")
    await until_paused(newer)
    assert set((await newer.state())["nodes"]) == {"first", "pause", "last", "extra"}
    assert set((await sleeping[0].state())["nodes"]) == {"first", "pause", "last"}
    half = RUNS // 2
    await finish(sleeping[:half], "one one")
    await end(edited)
    await host_of(scene, "third", THIRD)
    await finish(sleeping[half:], "one one")
    await finish([newer], "two two two")
