"""The first task that ends, in an order that nobody recorded."""

import asyncio

from holdfast import step, workflow


@step
async def ask(server: str) -> str:
    return server


@workflow
async def race(servers: list[str]) -> list[str]:
    tasks = [asyncio.create_task(ask(server)) for server in servers]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)  # expect: HF-A030
    answers = [task.result() for task in done]
    for next_done in asyncio.as_completed(pending):  # expect: HF-A030
        answers.append(await next_done)
    return answers
