"""Workflows whose steps append to a ledger, a file, what they do; `broken` fails until the ledger is mended."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from temporalio import workflow as temporal

from holdfast import (
    Client,
    Dag,
    Permanent,
    RetryPolicy,
    StepFailed,
    Worker,
    approval,
    continue_as_new,
    map_steps,
    step,
    step_info,
    wait_for,
    workflow,
)
from holdfast.authoring.waits import Decision

ONCE = RetryPolicy(max_attempts=1)


def append(ledger: str, entry: str) -> None:
    with Path(ledger).open("a") as file:
        file.write(f"{entry} {step_info().idempotency_key}\n")


def mend(ledger: str) -> None:
    Path(f"{ledger}.mended").touch()


def mended(ledger: str) -> bool:
    return Path(f"{ledger}.mended").exists()


def done(ledger: str) -> list[str]:
    """What the steps did, in their order."""
    path = Path(ledger)
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def keys(ledger: str, entry: str) -> list[str]:
    """The idempotency keys under which a step did something."""
    return [line.split()[1] for line in Path(ledger).read_text().splitlines() if line.split()[0] == entry]


@step
async def again_do(ledger: str, what: str) -> str:
    append(ledger, what)
    return f"did {what}"


@step(local=True, idempotent=True)
async def again_local(ledger: str, what: str) -> str:
    append(ledger, what)
    return f"did {what}"


@step(retry=ONCE)
async def again_broken(ledger: str, what: str) -> str:
    append(ledger, what)
    if not mended(ledger):
        raise Permanent("not mended")
    return f"did {what}"


@step(retry=ONCE)
async def again_unknown(ledger: str, what: str) -> str:
    append(ledger, what)
    if not mended(ledger):
        raise ConnectionError("nobody knows what came of it")
    return f"did {what}"


@step
async def again_charge(ledger: str, what: str) -> str:
    append(ledger, what)
    return f"charged {what}"


@again_charge.compensate
async def again_refund(ledger: str, what: str, result: str | None) -> None:
    append(ledger, f"refund-{what}")
    if what == "lost":
        raise Permanent("the bank has not said what came of it")


@workflow
async def again_chain(ledger: str) -> list[str]:
    found = [await again_do(ledger, "a"), await again_local(ledger, "b")]
    found += await asyncio.gather(
        *[_two(ledger, name, seconds) for name, seconds in (("x", 0.3), ("y", 0.0))]
    )
    found.append(await again_broken(ledger, "c"))
    return found


async def _two(ledger: str, name: str, seconds: float) -> str:
    await again_do(ledger, f"{name}1")
    await asyncio.sleep(seconds)  # the second call of the later branch is made first
    return await again_do(ledger, f"{name}2")


@workflow
async def again_saga(ledger: str) -> str:
    await again_do(ledger, "first")
    await again_charge(ledger, "charge")
    await again_unknown(ledger, "ship")
    return "shipped"


@step(retry=ONCE)
async def again_way(ledger: str) -> str:
    if not mended(ledger):
        raise Permanent("not mended")
    return "new"


@workflow
async def again_branch(ledger: str, here: str = "") -> str:
    """Charges another way once `again_way` works."""
    try:
        way = await again_way(ledger)
    except StepFailed:
        way = "old"
    if way == "old":
        await again_do(ledger, "old")
        await asyncio.gather(again_charge(ledger, "old1"), again_charge(ledger, "old2"))
        await map_steps(again_book, [f"{ledger}|{n}" for n in range(4)])
        await again_saved(ledger)
    await again_charge(ledger, way)
    if await wait_for("end", str) == "fail":
        await again_broken(f"{ledger}.never", "end")
    return way


@step
async def again_book(item: str) -> str:
    append(item.partition("|")[0], f"book{item.partition('|')[2]}")
    return item


@again_book.compensate
async def again_unbook(item: str, result: str | None) -> None:
    append(item.partition("|")[0], f"unbook{item.partition('|')[2]}")


@workflow
async def again_saved(ledger: str) -> None:
    await again_charge(ledger, "inside")


@workflow
async def again_lost(ledger: str) -> None:
    await again_charge(ledger, "lost")
    await again_broken(ledger, "c")


@workflow
async def again_waits(ledger: str) -> list[str]:
    found = [await wait_for("colour", str), str((await approval("Ship it?", form=Decision)).approved)]
    found.append(await again_broken(ledger, "c"))
    return found


@workflow
async def again_child(ledger: str, name: str) -> str:
    await again_do(ledger, f"{name}1")
    if name == "bad":
        await again_broken(ledger, f"{name}2")
    return name


@workflow
async def again_family(ledger: str) -> list[str]:
    names = [await again_child(ledger, "good")]
    return names + list(await asyncio.gather(again_child(ledger, "fine"), again_child(ledger, "bad")))


@workflow
async def again_continued(ledger: str, n: int = 0) -> str:
    await again_do(ledger, f"n{n}")
    if n < 2:
        continue_as_new(ledger, n + 1)
    return await again_broken(ledger, "c")


@workflow
async def again_forgetful(ledger: str, n: int = 0) -> None:
    await again_do(ledger, f"n{n}")
    if n < 1:
        temporal.continue_as_new(args=[ledger, n + 1])
    await again_broken(ledger, "c")


@workflow
async def again_mapped(ledger: str, count: int) -> list[str]:
    return await map_steps(again_item, [f"{ledger}|{n}" for n in range(count)])


@step(retry=ONCE)
async def again_item(item: str) -> str:
    return _item(item)


def _item(item: str) -> str:
    ledger, _, number = item.partition("|")
    append(ledger, f"item{number}")
    if int(number) % 100 == 7 and not mended(ledger):
        raise Permanent("not mended")
    return number


@workflow
async def again_input(ledger: str, changed: str) -> str:
    await again_do(ledger, "same")
    await again_do(ledger, changed)
    return await again_broken(ledger, "c")


@workflow
async def again_slow(ledger: str) -> str:
    await again_do(ledger, "a")
    await again_do(ledger, "b")
    await wait_for("go", str)
    await again_do(ledger, "c")
    return "gone"


@step
async def again_text(ledger: str, number: int) -> str:
    append(ledger, "large")
    return f"{number}" * (100_000 // len(f"{number}")) + " " * (100_000 % len(f"{number}"))


@workflow
async def again_large(ledger: str, count: int) -> int:
    found = await asyncio.gather(*[again_text(ledger, number) for number in range(count)])
    await again_broken(ledger, "c")
    return sum(map(len, found))


def again_dag() -> Dag:
    dag = Dag("again")

    @dag.step
    async def fetch(input: str) -> list[str]:
        append(input, "fetch")
        return [f"{input}|{n}" for n in range(10)]

    @dag.map(over="fetch", retry=ONCE)
    async def enrich(item: str) -> str:
        return _item(item)

    @dag.step
    async def beside(input: str) -> str:
        append(input, "beside")
        return "beside"

    @dag.step
    async def store(enrich: list[str], beside: str, input: str) -> int:
        append(input, "store")
        return len(enrich)

    return dag


SERVED = [
    again_branch,
    again_saved,
    again_chain,
    again_saga,
    again_lost,
    again_waits,
    again_child,
    again_family,
    again_continued,
    again_forgetful,
    again_mapped,
    again_input,
    again_slow,
    again_large,
]


async def _serve(address: str, namespace: str) -> None:
    async with Client.connect(address, namespace=namespace) as client, Worker(client, SERVED):
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
