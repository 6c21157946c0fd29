"""Three versions of a workflow: before a patch, with it, and when no run from before it is open any more.

`python -m tests.testing.recorded_patch` records the histories under `tests/histories/patch`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from holdfast import Client, Worker, Workflow, deprecate_patch, patched, step, workflow
from holdfast.testing import fresh_registry, save_history

FOLDER = Path(__file__).parents[1] / "histories" / "patch"
VERSIONS = ("before", "patched", "after")


def version(name: str) -> Workflow[..., Any]:
    """The workflow as it was, is or will be; to be called with a fresh registry."""

    @step
    async def pack(order: str) -> int:
        return len(order)

    @step
    async def weigh(items: int) -> int:
        return items * 700

    @workflow(name="recorded.changed")
    async def changed(order: str) -> int:
        items = await pack(order)
        if name == "before":
            return items
        if name == "after":
            deprecate_patch("weigh-parcels")
            return await weigh(items)
        if patched("weigh-parcels"):
            return await weigh(items)
        return items

    return changed


async def main() -> None:
    for name in VERSIONS[:2]:
        with fresh_registry():
            changed = version(name)
            async with Client.embedded(home=None) as client, Worker(client, [changed]):
                run = await client.start(changed, "1", id=name)
                await run.result()
                await save_history(run, FOLDER / f"{name}.json")


if __name__ == "__main__":
    asyncio.run(main())
