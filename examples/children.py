"""A workflow that runs other workflows: each child is a run of its own, with its own id and history."""

import asyncio

from holdfast import Client, Worker, step, workflow


@step
async def translate(text: str, language: str) -> str:
    words = {"de": {"good": "guten", "morning": "Morgen"}, "fr": {"good": "bon", "morning": "jour"}}
    return " ".join(words[language].get(word, word) for word in text.split())


@workflow
async def chapter(text: str, language: str) -> str:
    return f"{language}: {await translate(text, language)}"


@workflow
async def book(chapters: list[str], language: str) -> list[str]:
    return await asyncio.gather(*(chapter(text, language) for text in chapters))


async def main() -> None:
    async with Client.embedded() as client, Worker(client, [book, chapter]):
        print(await client.run(book, ["good morning", "good people"], "de"))


if __name__ == "__main__":
    asyncio.run(main())
