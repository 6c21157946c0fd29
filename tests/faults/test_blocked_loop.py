"""Steps that hold the loop or their thread longer than the heartbeat timeout, with the defaults."""

from __future__ import annotations

from .conftest import THOROUGH, Scene
from .served import blocked

SECONDS = 30.0 if THOROUGH else 13.0
"""At least twice the default heartbeat timeout."""


NAMES = ["async", "thread", "progress", "progress on a thread", "loop", "late async", "late thread"]


async def test_they_and_their_neighbours_run_once_and_a_warning_names_the_one_that_blocks(
    scene: Scene,
) -> None:
    async with scene.client() as client:
        host = await scene.host()
        assert await client.run(blocked, SECONDS) == NAMES
        host.terminate()
        assert await host.ended(10) == 0
    assert [entry.attempt for entry in scene.ledger.starts()] == [1] * len(NAMES)
    assert len(scene.ledger.ends()) == len(NAMES)
    warnings = [line for line in host.said.splitlines() if "has held the worker's loop" in line]
    assert len(warnings) == 1
    assert "WARNING holdfast.worker step 'block_loop'" in warnings[0]
    assert host.line("blocked") == ["blocked", "1"]
