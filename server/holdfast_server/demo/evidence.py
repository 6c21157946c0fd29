"""What the demo claims, worked out from a run's description and the ledger of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast import StepState
from holdfast.client.description import RunDescription, StepDescription
from holdfast_server.demo.ledger import Entry, repeated

_DONE = frozenset({StepState.COMPLETED, StepState.COMPENSATED})


@dataclass(frozen=True, kw_only=True)
class StepEvidence:
    """One step of a run: what Temporal's history says, and what the step itself wrote down."""

    described: StepDescription
    entries: Sequence[Entry]

    @property
    def title(self) -> str:
        """The step's name and its label."""
        label = self.entries[0].label if self.entries else ""
        return f"{self.described.name} {label}".strip()

    @property
    def done(self) -> bool:
        """Whether history has it as completed, undone since or not."""
        return self.described.state in _DONE

    @property
    def ended_once(self) -> bool:
        """Whether its function came to its end exactly once."""
        return [entry.event for entry in self.entries].count("end") == 1

    @property
    def lost(self) -> list[Entry]:
        """Starts without an end: attempts that died with their process."""
        ended = {entry.attempt for entry in self.entries if entry.event != "start"}
        return [entry for entry in self.entries if entry.event == "start" and entry.attempt not in ended]

    @property
    def places(self) -> list[str]:
        """Where each attempt ran and how it ended, the first one first."""
        said: list[str] = []
        for start in (entry for entry in self.entries if entry.event == "start"):
            ends = [e.event for e in self.entries if e.attempt == start.attempt and e.event != "start"]
            how = "died" if not ends else "failed" if "failed" in ends else "done"
            said.append(f"{start.pid} {how}")
        return said


def gather(description: RunDescription, entries: Sequence[Entry]) -> list[StepEvidence]:
    """The evidence for each step, in the order in which the steps were scheduled."""
    return [
        StepEvidence(
            described=step,
            entries=[entry for entry in entries if entry.key == f"{description.id}/{step.activity_id}"],
        )
        for step in description.steps
    ]


def doubts(description: RunDescription, entries: Sequence[Entry]) -> list[str]:
    """What speaks against "every completed step was done once"; empty when nothing does."""
    steps = gather(description, entries)
    found = [
        f"{step.title} is completed, but the ledger does not have exactly one end of it"
        for step in steps
        if step.done and not step.ended_once
    ]
    found += [
        f"{entry.step} {entry.label} was completed and began again in process {entry.pid}"
        for entry in repeated(entries)
    ]
    known = {entry.key for step in steps for entry in step.entries}
    found += [f"the ledger has {key}, which the run does not" for key in {e.key for e in entries} - known]
    return found
