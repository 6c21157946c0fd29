"""An update with a validator and a lock."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow

ALLOWED = {"english": "Hello", "french": "Bonjour", "german": "Hallo"}


@activity.defn
async def translate(language: str) -> str:
    return language


@workflow.defn
class Greeter:
    def __init__(self) -> None:
        self.language = "english"
        self.lock = asyncio.Lock()
        self.closed = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.closed and workflow.all_handlers_finished())
        return ALLOWED[self.language]

    @workflow.update
    async def set_language(self, language: str) -> str:
        previous, self.language = self.language, language
        async with self.lock:
            if language not in ALLOWED:
                await workflow.execute_activity(
                    translate, language, start_to_close_timeout=timedelta(seconds=5)
                )
        return previous

    @set_language.validator
    def check(self, language: str) -> None:
        if language not in {*ALLOWED, "danish"}:
            raise ValueError(f"{language} is not spoken here")

    @workflow.signal
    def close(self) -> None:
        self.closed = True
