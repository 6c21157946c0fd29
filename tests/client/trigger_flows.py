"""Workflows that declare triggers, and a process that syncs them."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from holdfast import Client, workflow
from holdfast.triggers import Cron, Interval, OnEvent, Policy, Trigger


@workflow(triggers=[Interval(timedelta(hours=2))])
async def tf_simple() -> None: ...


@workflow(
    triggers=[
        Trigger(
            Cron("0 9 * * *", timezone="Europe/Berlin"),
            name="tf-eu",
            args=("eu",),
            policy=Policy(overlap="allow_all"),
        ),
        Trigger(OnEvent("tf-orders", input="payload.region"), name="tf-orders"),
    ]
)
async def tf_report(region: str) -> None: ...


async def main(home: str) -> None:
    async with Client.embedded(home) as client:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        report = await client.triggers.sync([tf_simple, tf_report])
        print(sorted([*report.created, *report.updated, *report.unchanged]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
