"""Records the histories of retried runs that `test_retry` replays: `python -m tests.engine.record_retried`.

They are never edited to make a change pass.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from pathlib import Path

from holdfast import Client, RunFailed, Worker

from . import retry_flows as flows

FOLDER = Path(__file__).parents[1] / "histories" / "retried"


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    dag = flows.again_dag()  # before the worker, which serves the steps that are known then
    async with Client.embedded(None) as client, Worker(client, flows.SERVED):
        for name, workflow in {
            "chain": flows.again_chain,
            "saga": flows.again_saga,
            "family": flows.again_family,
            "dag": dag,
        }.items():
            ledger = f"ledger-{name}"
            run = await client.start(workflow, ledger, id=name)
            try:
                await run.result()
            except RunFailed:
                flows.mend(ledger)
            await run.retry()
            await run.result()
            recorded = json.dumps((await run.history()).to_json_dict(), indent=1)
            nameless = re.sub(r'"identity": "[^"]*"', '"identity": "client-1"', recorded)
            (FOLDER / f"{name}.json").write_text(nameless + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        asyncio.run(main())
