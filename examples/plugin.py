"""Holdfast inside a Temporal client and worker of your own, beside workflows that were there before."""

import asyncio
from datetime import timedelta

from temporalio import activity
from temporalio import workflow as temporal
from temporalio.client import Client as TemporalClient
from temporalio.worker import Worker as TemporalWorker

from holdfast import Client, Plugin, step, workflow


@activity.defn
async def look_up(customer: str) -> str:
    return f"{customer} lives in Seattle"


@step
async def forecast(place: str) -> str:
    return f"rain in {place}"


@workflow
async def pack(place: str) -> str:
    return f"umbrella, since {await forecast(place)}"


@temporal.defn
class Travel:
    """Written directly on Temporal. Its last line calls a Holdfast step."""

    @temporal.run
    async def run(self, customer: str) -> str:
        found = await temporal.execute_activity(
            look_up, customer, start_to_close_timeout=timedelta(seconds=10)
        )
        return f"{found}: {await forecast('Seattle')}"


async def main() -> None:
    async with Client.embedded() as server:  # stands for your cluster
        yours = await TemporalClient.connect(server.address, plugins=[Plugin([pack])])
        worker = TemporalWorker(yours, task_queue="default", workflows=[Travel], activities=[look_up])
        async with worker, Client.wrap(yours) as client:
            print(await client.run(pack, "Seattle"))
            print(await yours.execute_workflow(Travel.run, "Ada", id="travel-ada", task_queue="default"))


if __name__ == "__main__":
    asyncio.run(main())
