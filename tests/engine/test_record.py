"""Progress that an executor records and the server confirms."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import Client, RunTerminated, Worker
from holdfast.engine import embedded

from . import record_flows as flows
from .support import eventually


@pytest.fixture(autouse=True)
def afresh() -> None:
    flows.outcomes.clear()
    flows.go_on.clear()


async def outcomes(*wanted: str | set[str]) -> None:
    """Wait until there are these; of a set, any one."""

    async def there() -> bool:
        return len(flows.outcomes) == len(wanted) and all(
            found in one if isinstance(one, set) else found == one
            for found, one in zip(flows.outcomes, wanted, strict=True)
        )

    await eventually(there)


async def test_the_next_attempt_finds_what_was_recorded(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [flows]):
        assert await holdfast_client.run(flows.notes, 1000, False) == [1000]
    assert flows.outcomes == ["recorded", "recorded"]


async def test_what_is_large_travels_through_the_storage(tmp_path: Path) -> None:
    home = tmp_path / "home"
    try:
        async with Client.embedded(home) as client, Worker(client, [flows]):
            assert await client.run(flows.notes, 5_000_000, False) == [5_000_000]
    finally:
        await embedded.stop(home)


async def test_what_the_server_does_not_take_ends_the_attempt(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [flows]):
        run = await holdfast_client.start(flows.notes, 10, True)
        await outcomes("waits")
        await run.terminate()
        with pytest.raises(RunTerminated):
            await run.result()
        flows.go_on.set()
        await outcomes("waits", {"Unavailable", "CancelledError"})  # a beat may have been told before


async def test_inside_of_a_step_the_progress_is_the_steps_own(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [flows]):
        assert await holdfast_client.run(flows.notes_in_a_step, 10) == []
    assert flows.outcomes == ["recorded", "recorded"]


async def test_outside_of_a_worker_it_does_nothing() -> None:
    assert await flows.Notes.call({}) == []
    assert flows.outcomes == ["recorded"]
