"""A run that waits for a person's decision, and the person who decides."""

import asyncio
from datetime import timedelta

from holdfast import Client, WaitTimeout, Worker, approval, step, workflow


@step
async def put_online(article: str) -> str:
    return f"{article!r} is published"


@workflow
async def publish(article: str) -> str:
    try:
        decision = await approval(f"Publish {article!r}?", timeout=timedelta(days=2), name="publish")
    except WaitTimeout:
        return f"nobody looked at {article!r} within two days"
    if not decision.approved:
        return f"{decision.by} refused {article!r}: {decision.comment}"
    return await put_online(article)


async def main() -> None:
    async with Client.embedded() as client, Worker(client, [publish]):
        weather, umbrellas = [await client.start(publish, text) for text in ("On weather", "On umbrellas")]
        await asyncio.sleep(2)  # the list of approvals is up to date after a moment
        for run in (weather, umbrellas):
            for waiting in await client.approvals.list(run_id=run.id):
                print(f"run {run.id} asks: {waiting.prompt}")
        await client.approvals.decide(weather.id, "publish", approved=True, by="Ada")
        await client.approvals.decide(umbrellas.id, "publish", approved=False, by="Ada", comment="too dry")
        print(await weather.result())
        print(await umbrellas.result())


if __name__ == "__main__":
    asyncio.run(main())
