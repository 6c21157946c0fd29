"""Children, one for each chapter."""

import asyncio

from holdfast import now, uuid4, workflow


@workflow
async def chapter(text: str) -> str:
    return f"{text} {uuid4()} {now().year}"


@workflow
async def book(chapters: list[str]) -> list[str]:
    first = await chapter.with_options(id="first")(chapters[0])
    others = await asyncio.gather(*(chapter(text) for text in chapters[1:]))
    return [first, *others]
