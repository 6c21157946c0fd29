"""What the llm executor adds to a bare call of the openai client in a plain step, against a FakeLLM. No model is asked.

`python -m benchmarks.executors_llm` prints it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import llm_flows
from benchmarks.report import Verdict, at_most, print_verdicts
from holdfast import Client, Worker
from holdfast.engine.embedded import stop
from holdfast.testing import FakeLLM

_CALLS = 5
"""Of one chain."""

_ROUNDS = 80


async def measure(client: Client, rounds: int = _ROUNDS) -> list[Verdict]:
    """The milliseconds that a call costs more, the median of paired rounds.

    Args:
        client: Where to run both.
        rounds: How often each side is measured.
    """
    sides = {"ours": llm_flows.llm_chain, "bare": llm_flows.bare_chain}
    times: dict[str, list[float]] = {name: [] for name in sides}
    with FakeLLM() as fake:
        async with Worker(client, [llm_flows]):
            for number in range(rounds + 1):
                order = list(sides) if number % 2 else list(reversed(sides))
                for name in order:
                    begin = time.perf_counter()
                    await client.run(sides[name], fake.base_url, _CALLS)
                    if number:  # the first round opens clients
                        times[name].append((time.perf_counter() - begin) / _CALLS * 1000)
    differences = [ours - bare for ours, bare in zip(times["ours"], times["bare"], strict=True)]
    for name, values in times.items():
        print(f"  {name:<6}{statistics.median(values):8.2f} ms a call")
    return [at_most("llm: ms more than a bare openai call", statistics.median(differences), 5.0)]


async def _main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            async with Client.embedded(home) as client:
                verdicts = await measure(client)
        finally:
            await stop(home)
    print_verdicts(verdicts)
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(_main()))
