"""Clients that a workflow opens to start other runs."""

from temporalio import workflow
from temporalio.client import Client as TemporalClient

import holdfast


@holdfast.workflow
async def outer(name: str) -> str:
    async with holdfast.Client.embedded() as client:  # expect: HF-A022
        return await client.run("inner", name)


@workflow.defn
class Outer:
    @workflow.run
    async def run(self, name: str) -> str:
        client = await TemporalClient.connect("localhost:7233")  # expect: HF-A022
        return str(client)
