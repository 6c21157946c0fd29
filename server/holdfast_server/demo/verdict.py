"""What `holdfast demo --chaos` has shown: the ledger of the steps held against Temporal's histories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from holdfast import StepState
from holdfast.client.description import RunDescription, StepDescription
from holdfast.jsonable import Jsonable
from holdfast_server.demo.ledger import Entry

_DONE = frozenset({StepState.COMPLETED, StepState.COMPENSATED})


@dataclass(frozen=True, kw_only=True)
class Verdict(Jsonable):
    """What came of all runs, their children included."""

    run_count: int
    step_count: int
    """Steps that completed, by the histories."""

    execution_count: int
    """How often a step's function began, by the ledger."""

    cut_off_count: int
    """How many of them never came to their end: they died with their process."""

    retry_count: int
    """Attempts beyond the first, by the histories."""

    compensation_count: int
    """Compensations that completed."""

    doubts: list[str]
    """What speaks against "nothing is lost, and nothing that was completed is done again"."""


def judge(runs: Sequence[RunDescription], entries: Sequence[Entry]) -> Verdict:
    """Hold the ledger against the histories.

    Args:
        runs: All of them.
        entries: What their steps have written down.
    """
    written: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        written[entry.key].append(entry)
    steps = {f"{run.id}/{step.activity_id}": step for run in runs for step in run.steps}
    doubts = [
        f"run {run.id} has not ended: {run.stuck or run.waiting_for}" for run in runs if not run.state.closed
    ]
    doubts += [f"the ledger has {key}, which no run has" for key in written.keys() - steps.keys()]
    doubts += [doubt for key, step in steps.items() for doubt in _doubts(key, step, written[key])]
    starts = sum(entry.event == "start" for entry in entries)
    return Verdict(
        run_count=len(runs),
        step_count=sum(step.state in _DONE for step in steps.values()),
        execution_count=starts,
        cut_off_count=starts - sum(entry.event != "start" for entry in entries),
        retry_count=sum(max(step.attempt - 1, 0) for step in steps.values()),
        compensation_count=sum(
            step.compensates is not None and step.state in _DONE for step in steps.values()
        ),
        doubts=doubts,
    )


def _doubts(key: str, step: StepDescription, entries: Sequence[Entry]) -> Iterator[str]:
    starts = [entry for entry in entries if entry.event == "start"]
    if step.state in _DONE and not any(entry.event == "end" for entry in entries):
        yield f"{key} is completed, but the ledger has no end of it"
    if len(starts) > step.attempt:
        yield f"{key} began {len(starts)} times in {step.attempt} attempts"
    if step.closed is not None:
        late = [entry for entry in starts if entry.at > step.closed.timestamp()]
        yield from (f"{key} had ended, and began again in process {entry.pid}" for entry in late)


def wrong_ends(runs: Mapping[str, RunDescription], results: Mapping[str, tuple[object, object]]) -> list[str]:
    """Runs that ended otherwise than they should have.

    Args:
        runs: By id.
        results: Of each: what it should give, and what it gave; None for a run that fails as it should.
    """
    return [
        f"run {run_id} gave {given!r} in place of {wanted!r} ({runs[run_id].state.value}: {runs[run_id].error})"
        for run_id, (wanted, given) in results.items()
        if wanted != given
    ]
