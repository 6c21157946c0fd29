"""Variables that are called like what is forbidden."""

from dataclasses import dataclass

from holdfast import step, workflow


@dataclass
class Shop:
    open: bool
    time: str
    random: list[int]

    def sleep(self) -> str:
        return self.time


@step
async def visit(name: str) -> str:
    return name


@workflow
async def shopping(time: str, requests: list[str], open: bool = True) -> list[str]:
    shop = Shop(open=open, time=time, random=[1])
    random = shop.random
    random.append(2)
    socket = {"time": time.upper()}
    print = visit
    os = [await print(request) for request in requests]
    os.append(shop.sleep())
    return [*os, socket["time"], *(str(uuid4) for uuid4 in random)]
