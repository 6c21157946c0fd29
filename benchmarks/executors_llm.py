"""`python -m benchmarks.executors_llm`: what the llm executor adds to a bare call of the openai client in a plain step,
against a FakeLLM. No model is asked.

Both sides run in turn on the same server, worker and endpoint, each round in the other order than the last; the figure
is the median of the differences, round by round. Takes about a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
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
    """The milliseconds that a call costs more, the median of paired rounds. The processor time, of worker and endpoint
    in this process, is printed too: a busy machine disturbs it less.

    Args:
        client: Where to run both.
        rounds: How often each side is measured.
    """
    sides = {"ours": llm_flows.llm_chain, "bare": llm_flows.bare_chain}
    times: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    with FakeLLM() as fake:
        async with Worker(client, [llm_flows]):
            for number in range(rounds + 1):
                order = list(sides) if number % 2 else list(reversed(sides))
                for name in order:
                    begin, begin_cpu = time.perf_counter(), time.process_time()
                    await client.run(sides[name], fake.base_url, _CALLS)
                    if number:  # the first round opens clients
                        times[name].append((time.perf_counter() - begin) / _CALLS * 1000)
                        cpu[name].append((time.process_time() - begin_cpu) / _CALLS * 1000)
    differences = [ours - bare for ours, bare in zip(times["ours"], times["bare"], strict=True)]
    first, _, third = statistics.quantiles(differences, n=4, method="inclusive")
    print(f"\nllm, against a bare openai call in a plain step\n  {'':<6}{'a call':>11}{'processor':>12}")
    for name in sides:
        print(f"  {name:<6}{statistics.median(times[name]):>8.2f} ms{statistics.median(cpu[name]):>9.2f} ms")
    print(f"  quartiles of the differences: {first:.2f} to {third:.2f} ms")
    return [at_most("llm: ms more than a bare openai call", statistics.median(differences), 5.0)]


async def _main(rounds: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            async with Client.embedded(home) as client:
                verdicts = await measure(client, rounds)
        finally:
            await stop(home)
    print_verdicts(verdicts)
    return 0


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executors_llm", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=_ROUNDS, help=f"paired rounds (default {_ROUNDS}, at least 2)"
    )
    sys.exit(asyncio.run(_main(max(2, parser.parse_args().rounds))))


if __name__ == "__main__":
    main()
