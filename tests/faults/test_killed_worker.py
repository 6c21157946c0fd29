"""A worker is killed with four runs in its hands, another one takes over. All defaults."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest

from holdfast import RunFailed

from .conftest import Scene, until
from .ledger import Entry, Ledger
from .served import booked, nearby_ones, one_after_another

NAMES = ["a", "b", "c"]
LOCAL_COUNT = 40


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    scene: Scene
    killed_at: float
    results: dict[str, object]


@pytest.fixture(scope="module")
def aftermath(shared_scene: Scene) -> Aftermath:
    return asyncio.run(play(shared_scene))


async def play(scene: Scene) -> Aftermath:
    ledger = scene.ledger
    async with scene.client() as client:
        first = scene.start_host()
        runs = [
            await client.start(one_after_another, NAMES, 1.5, id="chain"),
            await client.start(nearby_ones, LOCAL_COUNT, id="local"),
        ]
        await until(lambda: ledger.ends(run="chain", label="a"), 20)
        runs.append(await client.start(booked, ["x", "y"], id="saga"))
        # In the middle of a plain step, of a compensation, and of a row of local steps.
        await until(
            lambda: (
                ledger.starts(run="chain", label="b")
                and ledger.starts(step="book.compensate", label="y")
                and len(ledger.ends(run="local", step="nearby")) >= 5
                and unfinished(ledger, run="local", step="nearby")
            ),
            10,
        )
        killed_at = first.kill()
        scene.start_host()
        results = await asyncio.gather(*(run.result() for run in runs), return_exceptions=True)
    return Aftermath(
        scene=scene,
        killed_at=killed_at,
        results={run.id: result for run, result in zip(runs, results, strict=True)},
    )


def unfinished(ledger: Ledger, **fields: object) -> list[Entry]:
    """The starts that nothing has ended yet, by whichever process."""
    ended = {(entry.label, entry.pid) for entry in ledger.ends(**fields)}
    return [entry for entry in ledger.starts(**fields) if (entry.label, entry.pid) not in ended]


def test_the_interrupted_step_starts_again_within_twelve_seconds_and_only_once(aftermath: Aftermath) -> None:
    ledger = aftermath.scene.ledger
    first, again = ledger.starts(run="chain", label="b")
    print(f"next start {again.at - aftermath.killed_at:.1f} s after the kill")
    assert first.pid == aftermath.scene.hosts[0].pid
    assert again.pid == aftermath.scene.hosts[1].pid
    assert (first.attempt, again.attempt) == (1, 2)
    assert first.at < aftermath.killed_at < again.at < aftermath.killed_at + 12
    assert aftermath.results["chain"] == NAMES


def test_a_completed_plain_step_is_never_done_again(aftermath: Aftermath) -> None:
    ledger = aftermath.scene.ledger
    assert ledger.done_again() == [entry for entry in ledger.done_again() if entry.step == "nearby"]
    assert [entry.label for entry in ledger.starts(run="chain")] == ["a", "b", "b", "c"]
    assert len(ledger.starts(run="local", label="before")) == 1


def test_local_steps_since_the_last_report_are_done_again_as_first_attempts(aftermath: Aftermath) -> None:
    """What `local=True` costs, as its documentation says; the layer reports at least about once a second."""
    steps = aftermath.scene.ledger.starts(run="local", step="nearby")
    counts = Counter(entry.label for entry in steps)
    repeated = [int(label) for label, count in counts.items() if count > 1]
    print(f"{len(repeated)} of {LOCAL_COUNT} local steps were done again")
    assert repeated
    assert repeated == list(range(repeated[0], repeated[0] + len(repeated)))
    assert len(repeated) <= 25
    assert max(counts.values()) == 2
    assert {entry.attempt for entry in steps} == {1}
    assert len(counts) == aftermath.results["local"] == LOCAL_COUNT


def test_a_compensation_that_was_running_finishes_and_each_ends_once(aftermath: Aftermath) -> None:
    ledger = aftermath.scene.ledger
    assert isinstance(aftermath.results["saga"], RunFailed)
    assert [entry.label for entry in ledger.starts(step="book.compensate")] == ["y", "y", "x"]
    assert [entry.label for entry in ledger.ends(step="book.compensate")] == ["y", "x"]
    assert [entry.label for entry in ledger.starts(step="book")] == ["x", "y"]
