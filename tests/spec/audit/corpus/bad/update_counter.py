"""A counter of the module, and a setting of another one."""

import itertools

import settings_of_shop as settings
from temporalio import workflow

total = 0
NUMBERS = itertools.count(1)


def next_number() -> int:
    return next(NUMBERS)  # expect: HF-A027


@workflow.defn
class Counter:
    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: total > 3)  # expect: HF-A027
        return total  # expect: HF-A027

    @workflow.update
    async def add(self, count: int) -> int:
        global total
        total += count  # expect: HF-A027
        settings.limit = count  # expect: HF-A027
        return next_number()

    @add.validator
    def check(self, count: int) -> None:
        if count > total:  # expect: HF-A027
            raise ValueError("too many")
