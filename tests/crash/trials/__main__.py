"""Trials of single promises, on a home of its own each, with real processes that are really killed.

    python -m tests.crash.trials NAME... [--count N] [--seconds S] [--seed S] [--folder DIR]
    python -m tests.crash.trials --list | all

They print what they measured, and exit with 1 where something was not kept; the folder with all records stays then.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Final

from tests.crash.verdict import Verdict

from .place import open_place

TRIALS: Final = {
    "one-id": ("one_id", "2,000 starts of one id at once, from several processes: one run"),
    "signals": ("messages", "12,000 messages to one run, through kills: each once, in order"),
    "signals-in-one": (
        "messages",
        "the same to a run that never continues as new: taken, or refused in time",
    ),
    "signals-queued": ("messages", "the same while no worker is there: kept, or refused in time"),
    "steps": ("steps", "20,000 steps in one run, through kills of workers: each completed once"),
    "poison": ("poison", "steps that end or hold their process: they fail, their neighbours do not"),
    "deploys": ("deploys", "code deployed, mixed, rolled back, and wrong, under open runs: all finish"),
    "open-runs": ("open_runs", "10,000 runs open at once: everything answers, all finish"),
    "steady": ("steady", "20 runs a second without a fault: none lost, p95 under a second"),
    "worker-loss": ("recovery", "how long until a killed worker's step begins elsewhere: 10 s"),
    "server-back": ("recovery", "how long until a killed server answers again: 5 s"),
}


async def _play(name: str, options: argparse.Namespace, folder: Path, verdict: Verdict) -> None:
    module = importlib.import_module(f"{__package__}.{TRIALS[name][0]}")
    async with open_place(folder, options) as place:
        await getattr(module, name.replace("-", "_"))(place, verdict)


def _try(name: str, options: argparse.Namespace) -> bool:
    print(f"{name}: {TRIALS[name][1]}; seed {options.seed}", flush=True)
    folder = options.folder / name if options.folder else Path(tempfile.mkdtemp(prefix=f"holdfast-{name}-"))
    folder.mkdir(exist_ok=True, parents=True)
    began, verdict = time.monotonic(), Verdict()
    try:
        asyncio.run(_play(name, options, folder, verdict))
    except Exception:  # noqa: BLE001 - a trial that breaks has shown nothing, and the others go on
        verdict.say("broken", traceback.format_exc())
    for figure, value in verdict.figures.items():
        print(f"  {figure}: {json.dumps(value) if isinstance(value, dict) else value}")
    for violation in verdict.violations[:50]:
        print(f"VIOLATION {violation}")
    taken = f"{time.monotonic() - began:.0f} s"
    if verdict.violations:
        print(
            f"{name}: {len(verdict.violations)} violations in {taken}; all records are in {folder}",
            flush=True,
        )
        return False
    print(f"{name}: kept, in {taken}", flush=True)
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return True


def main() -> int:
    """Parse the command line and try what it names."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash.trials",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("name", nargs="*", metavar="NAME", help=f"which: {', '.join(TRIALS)}, all")
    parser.add_argument("--list", action="store_true", help="name them all")
    parser.add_argument("--count", type=int, help="of whatever there are many of (default: what is promised)")
    parser.add_argument("--seconds", type=float, help="of `steady` (default 600)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="play one again")
    parser.add_argument("--folder", type=Path, help="keep all records here")
    parser.add_argument(
        "--untimed", action="store_true", help="print times, but do not judge them: a busy machine"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    if options.list:
        for name, (_, what) in TRIALS.items():
            print(f"{name:12} {what}")
        return 0
    names = list(TRIALS) if "all" in options.name else options.name
    if unknown := sorted(set(names) - TRIALS.keys()):
        parser.error(f"there is no trial {unknown[0]!r}; --list names them")
    if not names:
        parser.error("name a trial, or `all`; --list names them")
    kept = [_try(name, options) for name in names]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
