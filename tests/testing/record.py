"""Records the histories that `test_replay` replays: `python -m tests.testing.record`, after a change that is meant."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from holdfast import Client, RunFailed, Worker
from holdfast.testing import save_history

from .recorded_flows import ask, count, saga, weigh_all

FOLDER = Path(__file__).parents[1] / "histories" / "holdfast"


async def main() -> None:
    async with (
        Client.embedded(home=None, time_skipping=True) as client,
        Worker(client, [ask, count, saga, weigh_all]),
    ):
        runs = {
            "completed": await client.start(saga, "1", id="completed"),
            "compensated": await client.start(saga, "broken", id="compensated"),
            "local_steps": await client.start(weigh_all, ["1", "2"], id="local-steps"),
            "approval": await client.start(ask, "1", id="approval"),
            "continued": await client.start(count, 3, id="continued"),
        }
        await client.approvals.decide("approval", "ship", approved=True)
        await runs["approval"].send("address", "Main Street 1")
        for name, run in runs.items():
            with contextlib.suppress(RunFailed):
                await run.result()
            await save_history(run, FOLDER / f"{name}.json")
        open_run = await client.start(ask, "2", id="open")
        await asyncio.sleep(1)
        await save_history(open_run, FOLDER / "open.json")


if __name__ == "__main__":
    asyncio.run(main())
