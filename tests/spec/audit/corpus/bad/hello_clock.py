"""A greeting that depends on the time of day."""

from datetime import datetime as dt

from holdfast import step, workflow


@step
async def greet(name: str, part: str) -> str:
    return f"Good {part}, {name}!"


@workflow
async def hello(name: str) -> str:
    hour = dt.now().hour  # expect: HF-A020
    return await greet(name, "morning" if hour < 12 else "evening")
