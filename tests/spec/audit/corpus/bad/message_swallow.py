"""Handlers that go on when the run is cancelled."""

import asyncio
from datetime import timedelta

from holdfast import WaitTimeout, step, wait_for, workflow


@step
async def handle(text: str) -> None:
    print(text)


@workflow
async def inbox(count: int) -> int:
    done = 0
    while done < count:
        try:
            await handle(await wait_for("message", str, timeout=timedelta(days=1)))
        except WaitTimeout:
            break
        except:  # expect: HF-A028
            continue
        done += 1
    try:
        await handle("done")
    except BaseException as error:  # expect: HF-A028
        done = -len(str(error))
    try:
        await asyncio.sleep(60)
    except (ValueError, asyncio.CancelledError):  # expect: HF-A028
        pass
    return done
