"""The smallest workflow."""

from holdfast import step, workflow


@step
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@workflow
async def hello(name: str) -> str:
    return await greet(name)
