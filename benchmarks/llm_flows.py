"""Chains of calls of a language model: by the llm executor, and by the bare client in a plain step."""

from __future__ import annotations

from collections.abc import AsyncIterator

from openai import AsyncOpenAI

from holdfast import Depends, step, workflow
from holdfast_executors import llm


async def open_bare() -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url="http://127.0.0.1/v1", api_key="-", max_retries=0) as client:
        yield client


@step
async def bare_call(base_url: str, prompt: str, client: AsyncOpenAI = Depends(open_bare)) -> str:
    client.base_url = base_url
    answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": prompt}])
    return answer.choices[0].message.content or ""


@workflow
async def bare_chain(base_url: str, count: int) -> int:
    return sum([len(await bare_call(base_url, f"call {number}")) for number in range(count)])


@workflow
async def llm_chain(base_url: str, count: int) -> int:
    return sum([len((await llm.ask(f"call {n}", model="m", base_url=base_url)).text) for n in range(count)])
