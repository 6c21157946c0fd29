"""A parent that calls a service itself."""

import httpx
import requests

from holdfast import workflow


@workflow
async def child(name: str) -> str:
    return name.upper()


@workflow
async def parent(url: str) -> str:
    name = requests.get(url, timeout=5).text  # expect: HF-A022
    async with httpx.AsyncClient() as client:  # expect: HF-A022
        answer = await client.get(url)  # expect: HF-A022
    try:
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise ValueError(url) from error
    return await child(name)
