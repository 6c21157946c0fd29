"""Attributes of classes, which all runs of a worker share."""

from temporalio import workflow


class Registry:
    count = 0


@workflow.defn
class Machine:
    parts: list[str] = []

    def __init__(self) -> None:
        self.name = ""

    @workflow.run
    async def run(self, name: str) -> int:
        self.name = name
        self.parts.append(name)  # expect: HF-A027
        Registry.count += 1  # expect: HF-A027
        return Registry.count  # expect: HF-A027
