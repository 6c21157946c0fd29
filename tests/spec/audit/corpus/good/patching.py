"""Code that changed under open runs."""

from datetime import timedelta

from holdfast import patched, step, workflow
from temporalio import workflow as temporal


@step
async def old(name: str) -> str:
    return name


@step(timeout=timedelta(seconds=5), retry="patient")
async def new(name: str) -> str:
    return name


@workflow
async def evolving(name: str) -> str:
    result = await (new(name) if patched("new-step") else old(name))
    if temporal.patched("again"):
        result += str(temporal.now())
    return result
