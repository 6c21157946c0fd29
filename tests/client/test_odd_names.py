"""Ids and names that cannot be sent: refused in one sentence wherever they enter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast import Client, InvalidConfiguration, InvalidInput, Worker, step, workflow
from holdfast.triggers import Cron

NEVER = Cron("0 0 1 1 * 2090")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@workflow
async def on_nothing() -> None:
    pass


ENTRIES: dict[str, Callable[[Client, str], Awaitable[Any]]] = {
    "run": lambda client, odd: client.get(odd).status(),
    "run of runs": lambda client, odd: client.runs.retry(odd),
    "fork": lambda client, odd: client.runs.fork(odd),
    "run of approvals": lambda client, odd: client.approvals.list(run_id=odd),
    "run to decide": lambda client, odd: client.approvals.decide(odd, "it", True),
    "workflow of list": lambda client, odd: client.runs.list(workflow=odd),
    "workflow of count": lambda client, odd: client.runs.count(workflow=odd),
    "queue of start": lambda client, odd: client.start(on_nothing, queue=odd),
    "queue of run": lambda client, odd: client.run(on_nothing, queue=odd),
    "id of start": lambda client, odd: client.start(on_nothing, id=odd),
    "message of start": lambda client, odd: client.start(on_nothing, message=(odd, 1)),
    "message": lambda client, odd: client.get("x").send(odd, 1),
    "message id": lambda client, odd: client.get("x").send("it", 1, message_id=odd),
    "query": lambda client, odd: client.get("x").query(odd),
    "update": lambda client, odd: client.get("x").update(odd),
    "reason": lambda client, odd: client.get("x").terminate(odd),
    "who": lambda client, odd: client.get("x").cancel(by=odd),
    "queues of workers": lambda client, odd: client.workers.list(queues=[odd]),
    "trigger": lambda client, odd: client.triggers.get(odd),
    "trigger to fire": lambda client, odd: client.triggers.fire(odd),
    "trigger to pause": lambda client, odd: client.triggers.pause(odd),
    "trigger to delete": lambda client, odd: client.triggers.delete(odd),
    "times": lambda client, odd: client.triggers.times(odd, NOON, NOON),
    "backfill": lambda client, odd: client.triggers.backfill(odd, NOON, NOON),
    "queue of trigger": lambda client, odd: client.triggers.create("t", on_nothing, on=NEVER, queue=odd),
    "note of trigger": lambda client, odd: client.triggers.create(
        "t", on_nothing, on=NEVER, note=odd, reason="y"
    ),
}


@pytest.mark.parametrize("odd", ["\ud800", "a\udfffb", "a\x00b"], ids=ascii)
async def test_an_odd_text_is_refused_wherever_it_enters(holdfast_client: Client, odd: str) -> None:
    for name, entry in ENTRIES.items():
        with pytest.raises(InvalidInput) as refused:
            await entry(holdfast_client, odd)
        assert ascii(odd)[1:-1] in refused.value.message, (name, refused.value.message)


async def work() -> None:
    pass


@pytest.mark.parametrize("odd", ["\ud800", "a\x00b", ""], ids=ascii)
def test_an_odd_queue_is_refused_where_it_is_declared(odd: str) -> None:
    with pytest.raises(InvalidConfiguration, match="queue"):
        step(queue=odd)(work)
    with pytest.raises(InvalidConfiguration, match="queue"):
        workflow(queue=odd)(work)
    with pytest.raises(InvalidConfiguration, match="queue"):
        Worker(Client.embedded(None), [on_nothing], queues=[odd])
