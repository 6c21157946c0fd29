"""Many starts of one id at the same time, from several processes.

python -m tests.crash.trials.one_id HOME ID COUNT IF_EXISTS    one of those processes; prints what came of its starts
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from typing import Any, Literal, cast

from tests.crash.scene import ROOT
from tests.crash.trials.place import Place
from tests.crash.trials.served import short
from tests.crash.verdict import Verdict

from holdfast import Client, HoldfastError
from holdfast.errors import AlreadyStarted

PROCESSES = 3
AT_ONCE = 200


async def one_id(place: Place, verdict: Verdict) -> None:
    """Of all starts one is the first, and there is one run."""
    count = place.options.count or 2000
    place.modules = ("tests.crash.trials.served",)
    await place.employ_many(1)
    for if_exists in ("raise", "return"):
        run_id = f"the-one-{if_exists}"
        outcomes: Counter[str] = Counter()
        executions: set[str] = set()
        callers = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, str(place.home), run_id, str(share), if_exists,
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for share in _shares(count)
        ]  # fmt: skip
        for caller in callers:
            assert caller.stdout is not None
            await caller.stdout.readline()  # connected
        for caller in callers:
            assert caller.stdin is not None
            caller.stdin.write(b"go\n")
        for caller in callers:
            said, _ = await caller.communicate()
            told: dict[str, Any] = json.loads(said)
            outcomes.update(told["outcomes"])
        verdict.figures[f'if_exists="{if_exists}"'] = dict(outcomes)
        found = [run async for run in place.client.temporal.list_workflows(f"WorkflowId = '{run_id}'")]
        described = await place.client.temporal.get_workflow_handle(run_id).describe()
        executions.add(described.run_id)
        executions.update(run.run_id for run in found)
        if len(executions) != 1:
            verdict.say("twice", f"{run_id} has executions {executions}")
        wanted = {"raise": {"first": 1, "AlreadyStarted": count - 1}, "return": {"the run": count}}[if_exists]
        if dict(outcomes) != wanted:
            verdict.say("outcomes", f"{run_id}: {dict(outcomes)}, wanted {wanted}")
        result = await place.client.get(run_id, short).result()
        if result != "only":
            verdict.say("result", f"{run_id} gave {result!r}")
    begun = Counter(effect.run for effect in place.effects() if effect.phase == "start")
    if set(begun.values()) != {1}:
        verdict.say("twice", f"steps began {dict(begun)}")


def _shares(count: int) -> list[int]:
    return [count // PROCESSES + (number < count % PROCESSES) for number in range(PROCESSES)]


async def _call(home: str, run_id: str, count: int, if_exists: Literal["raise", "return"]) -> None:
    outcomes: Counter[str] = Counter()
    gate = asyncio.Semaphore(AT_ONCE)
    async with Client.embedded(home) as client:
        print("connected", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

        async def start() -> None:
            async with gate:
                try:
                    run = await client.start(short, 3.0, id=run_id, if_exists=if_exists)
                except AlreadyStarted as error:
                    right = error.run is not None and error.run.id == run_id
                    outcomes["AlreadyStarted" if right else "AlreadyStarted without its run"] += 1
                except HoldfastError as error:
                    outcomes[repr(error)] += 1
                else:
                    outcomes[
                        "first" if if_exists == "raise" else f"the run {'' if run.id == run_id else run}"
                    ] += 1

        await asyncio.gather(*(start() for _ in range(count)))
    print(json.dumps({"outcomes": {key.strip(): value for key, value in outcomes.items()}}), flush=True)


if __name__ == "__main__":
    home, run_id, count, if_exists = sys.argv[1:]
    asyncio.run(_call(home, run_id, int(count), cast("Literal['raise', 'return']", if_exists)))
