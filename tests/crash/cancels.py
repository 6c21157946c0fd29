"""Every shape of the harness, cancelled at every boundary between two events of its history.

    python -m tests.crash.cancels [SHAPE...]

For each shape a run goes undisturbed, and then one for each boundary, where it is cancelled. `cancel_everywhere` says
what must hold of each; here the outside tells besides that nothing happened after the end of a run, and that what was
booked was undone once. Prints a table, and exits with 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.crash import work
from tests.crash.driver import SHAPES
from tests.crash.scene import ROOT
from tests.crash.sink import PORT_VARIABLE, Effect, read_effects

from holdfast import Client, HoldfastError, Run, Worker
from holdfast.testing import CancelReport, cancel_everywhere


async def _ask(run: Run[Any]) -> None:
    await run.send("go", "one")
    await run.send("go", "two")
    while True:
        try:
            await run.send("ok", "yes")
        except HoldfastError:
            await asyncio.sleep(0.05)
            if (await run.status()).closed:
                return
        else:
            return


class Outside:
    """What the effects of runs say of their ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ended: dict[str, int] = {}

    def _of(self, run_id: str) -> list[Effect]:
        return [effect for effect in read_effects(self._file) if _is_of(effect, run_id)]

    def ended(self, run_id: str) -> None:
        """A run has ended: what was booked is undone."""
        effects = self._of(run_id)
        self._ended[run_id] = len(effects)
        begun = {e.label for e in effects if e.step == "crash.book" and e.phase == "start"}
        done = {e.label for e in effects if e.step == "crash.book" and e.phase == "end"}
        undone = Counter(
            e.label.removeprefix("undo ")
            for e in effects
            if e.label.startswith("undo ") and e.phase == "start"
        )
        assert undone.keys() >= done, f"{sorted(done - undone.keys())} was booked and not undone"
        assert max(undone.values(), default=1) == 1, f"undone more than once: {undone}"
        # A cancelled call may have been begun or not, so that it is undone in either case.
        assert len(undone) <= len(begun) + 1, f"{sorted(undone)} was undone, {sorted(begun)} was begun"

    def late(self) -> Iterable[str]:
        """Runs with effects after their end."""
        for run_id, count in self._ended.items():
            if effects := self._of(run_id)[count:]:
                yield f"{run_id}: {len(effects)} effects after its end, first {effects[0]}"


def _is_of(effect: Effect, run_id: str) -> bool:
    return effect.run == run_id or effect.run.startswith((f"{run_id}/", f"{run_id}:", f"{run_id}."))


async def _cancel(shape: str, client: Client, file: Path) -> tuple[CancelReport, list[str]]:
    workflow, count, _ = SHAPES[shape]
    outside = Outside(file)
    anything: Any = workflow
    report = await cancel_everywhere(
        anything,
        [0.3 if shape == "fan" and number == 1 else 0.02 for number in range(count)],
        client=client,
        worker=lambda client: Worker(client, [work]),
        during=_ask if shape == "asks" else None,
        verify=outside.ended,
        check=False,
        at_once=8,
        timeout=timedelta(seconds=120),
    )
    await asyncio.sleep(2)  # late effects would come by now
    return report, [*map(str, report.differences), *outside.late()]


async def _play(shapes: list[str], file: Path) -> int:
    from holdfast.testing.memory import MemoryServer

    print(f"{'shape':9}{'events':>7}{'points':>7}{'missed':>7}  {'ended':36}{'wrong':>6}{'seconds':>8}")
    wrong = 0
    server = MemoryServer()
    try:
        for shape in shapes:
            with server.client() as client:
                report, found = await _cancel(shape, client, file)
            ends = ", ".join(f"{count} {end}" for end, count in sorted(report.ends.items()))
            print(
                f"{shape:9}{report.events:7}{len(report.points):7}{len(report.unreached):7}  {ends:36}"
                f"{len(found):6}{report.seconds:8.1f}",
                *(f"\n  VIOLATION {what}" for what in found[:10]),
                flush=True,
            )
            wrong += len(found)
    finally:
        await asyncio.to_thread(server.close)
    return wrong


def main() -> int:
    """Parse the command line, play, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.cancels", description=__doc__)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"default: all of {', '.join(SHAPES)}")
    shapes: list[str] = parser.parse_args().shapes or list(SHAPES)
    logging.basicConfig(level=logging.CRITICAL)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="holdfast-cancels-") as folder:
        file = Path(folder) / "effects.jsonl"
        file.touch()
        sink = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.sink", str(file)], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert sink.stdout is not None
        os.environ[PORT_VARIABLE] = str(int(sink.stdout.readline()))
        try:
            wrong = asyncio.run(_play(shapes, file))
        finally:
            sink.kill()
            sink.wait()
    print(f"{wrong} violations, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
