"""Limited steps and the workflows that call them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from holdfast import Limit, Permanent, step, workflow
from holdfast.authoring.dag import Dag


@dataclass
class Job:
    tenant: str
    seconds: float


at_work: dict[str, int] = {}
most: dict[str, int] = {}


async def work(job: Job) -> str:
    at_work[job.tenant] = at_work.get(job.tenant, 0) + 1
    most[job.tenant] = max(most.get(job.tenant, 0), at_work[job.tenant])
    await asyncio.sleep(job.seconds)
    at_work[job.tenant] -= 1
    return job.tenant


@step(limit=Limit(key="{job.tenant}", concurrency=2))
async def limited(job: Job) -> str:
    return await work(job)


@step(limit=Limit(key="{job.tenant}", concurrency=2), retry="none")
async def refused(job: Job) -> str:
    raise Permanent(job.tenant)


@step(limit=Limit(key="{nobody}", concurrency=2))
async def nameless(job: Job) -> str:
    return job.tenant


@step(limit=Limit(key="{job.tenant}", concurrency=1))
async def alone(job: Job) -> int:
    """How many are at work when it begins, itself included."""
    await work(job)
    return most[job.tenant]


@step(limit=Limit(key="{job.tenant}", concurrency=5))
async def in_fives(job: Job) -> str:
    return await work(job)


@workflow
async def all_in_fives(jobs: list[Job]) -> list[str]:
    return list(await asyncio.gather(*(in_fives(job) for job in jobs)))


@workflow(queue="elsewhere")
async def fives_then_alone(jobs: list[Job]) -> int:
    together = [asyncio.ensure_future(in_fives(job)) for job in jobs]
    last = asyncio.ensure_future(alone(jobs[0]))
    await asyncio.gather(*together)
    return await last


@workflow
async def all_of(jobs: list[Job]) -> list[str]:
    return list(await asyncio.gather(*(limited(job) for job in jobs)))


@workflow
async def cancelled_while_it_waits(jobs: list[Job]) -> int:
    waiting = [asyncio.ensure_future(limited(job)) for job in jobs]
    await waiting[0]
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return len(await asyncio.gather(*(limited(Job(jobs[0].tenant, 0.01)) for _ in range(2))))


@workflow
async def refused_thrice(job: Job) -> int:
    found = await asyncio.gather(*(refused(job) for _ in range(3)), return_exceptions=True)
    return sum(isinstance(item, Exception) for item in found)


@workflow
async def misnamed(job: Job) -> str:
    return await nameless(job)


limited_nodes = Dag("limited_nodes")
for number in range(6):
    limited_nodes.add_step(limited, id=f"n{number}", arguments={"job": {"tenant": "dag", "seconds": 0.05}})
