"""A DAG whose steps do I/O, beside a workflow that runs it."""

import json
import random
from pathlib import Path

from holdfast import Dag, workflow

etl = Dag("etl")


@etl.step
async def fetch(input: str) -> list[int]:
    return list(json.loads(Path(input).read_text()))


@etl.map(over="fetch", concurrency=5)
async def enrich(item: int) -> float:
    return item * random.random()


@workflow
async def nightly(path: str) -> object:
    return await etl(path)
