"""Records the histories that `test_recorded` replays: `python -m tests.engine.dag.record [NAME ...]`.

Without names, all of them. Recordings of earlier versions stay under names of their own: open runs may be that old.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

from holdfast import Client, InvalidInput, Run, RunFailed, Worker
from holdfast.authoring.dag import Dag
from holdfast.testing.replay import _write

from . import recorded_flows as flows

FOLDER = Path(__file__).parents[2] / "histories" / "dag"


async def until(question: Callable[[], Awaitable[object]]) -> None:
    while not await question():  # noqa: ASYNC110 - what is awaited happens in a run
        await asyncio.sleep(0.1)


async def node_is(run: Run[Any], node: str, state: str) -> None:
    async def reached() -> bool:
        return bool((await run.state())["nodes"][node]["state"] == state)

    await until(reached)


async def answer_waits(client: Client, run: Run[Any]) -> None:
    await run.send("word", "yes")

    async def asked() -> object:
        return await client.approvals.list(run_id=run.id)

    await until(asked)
    await client.approvals.decide(run.id, "ok", approved=True)


async def answer_continued(client: Client, run: Run[Any]) -> None:
    await node_is(run, "last", "completed")
    await run.send("word", "yes")


async def decide(client: Client, run: Run[Any]) -> None:
    await node_is(run, "pay", "failed")
    with contextlib.suppress(InvalidInput):
        await run.update("retry_node", "after")
    await run.update("skip_node", "unwanted")
    await run.update("retry_node", "pay")
    await node_is(run, "pay", "failed")
    await run.update("skip_node", "pay")


async def cancel(client: Client, run: Run[Any]) -> None:
    await node_is(run, "word", "waiting")
    await run.cancel()


async def raise_budget(client: Client, run: Run[Any]) -> None:
    async def asked() -> object:
        return await client.approvals.list(run_id=run.id)

    await until(asked)
    [approval] = await client.approvals.list(run_id=run.id)
    await client.approvals.decide(run.id, approval.name, approved=True, max_tokens=100)


async def nothing(client: Client, run: Run[Any]) -> None:
    """Needs nobody."""


def cancelled() -> Dag:
    dag = flows.chain("cancelled", 2)
    dag.add_step(flows.book, id="hotel", arguments={"what": "hotel"}, depends_on=["n1"])
    dag.add_wait("word", "word", depends_on=["hotel"])
    return dag


DAGS: dict[str, tuple[Dag, Callable[[Client, Run[Any]], Awaitable[None]]]] = {
    "chain": (flows.chain("chain", 4), nothing),
    "choices": (flows.choices(), nothing),
    "crowded": (flows.crowded(), nothing),
    "loop": (flows.loop(), nothing),
    "maps": (flows.maps(), nothing),
    "spread": (flows.spread(), nothing),
    "cut": (flows.cut(), nothing),
    "children": (flows.children(), nothing),
    "saga": (flows.saga(), nothing),
    "saga-broken": (flows.saga("lost"), nothing),
    "spread-saga": (flows.spread_saga(), nothing),
    "waits": (flows.waits(), answer_waits),
    "continued": (flows.continued(), answer_continued),
    "patient": (flows.patient(), decide),
    "counted": (flows.counted(), nothing),
    "large": (flows.large(), nothing),
    "locally": (flows.locally(), nothing),
    "pages": (flows.pages(), nothing),
    "tools": (flows.tools(), nothing),
    "budget": (flows.budget(), raise_budget),
    "cancelled": (cancelled(), cancel),
}


async def save(client: Client, run_id: str, name: str) -> None:
    """Record every execution of a run, and of its children."""
    execution_id: str | None = None
    found: list[WorkflowHistory] = []
    while execution_id != "":
        handle = client.temporal.get_workflow_handle(run_id, run_id=execution_id)
        found.insert(0, await handle.fetch_history())
        started = found[0].events[0].workflow_execution_started_event_attributes
        execution_id = started.continued_execution_run_id
    for number, history in enumerate(found, 1):
        _write(history, FOLDER / f"{name}{f'-{number}' if len(found) > 1 else ''}.json")
        for event in history.events:
            child = event.start_child_workflow_execution_initiated_event_attributes.workflow_id
            if child and name != "cut":  # whose children's input lies in the storage
                await save(client, child, child.replace(":", "-"))


async def main(names: list[str]) -> None:
    with flows.small():
        async with (
            Client.embedded(home=None, time_skipping=True) as client,
            Worker(client, [flows.code_child, flows.map_in_code]),
        ):
            for name, (dag, help) in DAGS.items():
                if not names or name in names:
                    run = await client.start(dag, id=name)
                    await help(client, run)
                    with contextlib.suppress(RunFailed):
                        await run.result()
                    print(name, await run.status())
                    await save(client, name, name)
            if not names or "map-in-code" in names:
                await client.run(flows.map_in_code, [2, 4, 5, 6, 8, 10], id="map-in-code")
                await save(client, "map-in-code", "map-in-code")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
