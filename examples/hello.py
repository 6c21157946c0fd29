"""The smallest whole program: a step, a workflow, and a run."""

import asyncio

from holdfast import Client, Worker, step, workflow


@step
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow
async def hello(name: str) -> str:
    return await greet(name)


async def main() -> None:
    async with Client.embedded() as client, Worker(client, [hello]):
        print(await client.run(hello, "world"))


if __name__ == "__main__":
    asyncio.run(main())
