"""Nothing that an operator can change through a client is left out of the record of actions."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.engine.support import eventually

from holdfast import (
    Client,
    NotFound,
    Permanent,
    RetryPolicy,
    Run,
    RunFailed,
    Worker,
    approval,
    step,
    wait_for,
    workflow,
)
from holdfast.indexer import Indexer
from holdfast.run_filter import RunFilter
from holdfast.states import StepState
from holdfast.triggers import Cron, Interval, Trigger

READS = {
    "Client": "get",
    "Run": "cost describe diagram events frames history logs preview_fork preview_retry query result state status",
    "analytics": "by_value compare export steps summary trends",
    "approvals": "list",
    "breakers": "list",
    "chaos": "stats",
    "dead_letters": "count get groups list",
    "events": "cursor list listen subscriptions",
    "executors": "get list",
    "runs": "actions count facets lag list search stored stuck",
    "store": "call close database has_indexer lag read",
    "triggers": "get list times",
    "workers": "catalogue list",
    "workflows": "audit diagram get list validate versions",
}
"""What changes nothing."""

WORK = {
    "Client": "close connect embedded run serving start wrap",
    "Run": "send",
    "events": "publish",
    "steps": "complete fail",
    "triggers": "deliver register",
    "workflows": "start",
}
"""What starts runs and gives them what they wait for; a worker that registers triggers does as `sync`."""

HOUR = timedelta(hours=1)
NEVER = Cron("0 0 1 1 * 2090")
DOCUMENT = {"name": "ac", "nodes": [{"id": "ask", "type": "approval", "config": {"prompt": "?"}}]}
Said = dict[str, Any]


@step
async def ac_refuse(name: str) -> str:
    raise Permanent(f"no {name}")


@step(retry=RetryPolicy(first_delay=HOUR, max_delay=HOUR))
async def ac_stumble() -> None:
    raise ConnectionError("away")


@workflow
async def ac_failing(name: str) -> str:
    return await ac_refuse(name)


@workflow
async def ac_asking() -> bool:
    return (await approval("May it?")).approved


@workflow
async def ac_stumbling() -> None:
    await ac_stumble()


@workflow(triggers=[Trigger(NEVER, name="ac-declared")])
async def ac_declaring() -> str:
    return await wait_for("go", str)


def test_every_method_is_known_to_read_to_work_or_to_be_recorded() -> None:
    known = {name for table in (READS, WORK) for name in _named(table)} | set(CHANGES)
    there = set(_methods())
    assert there - known == set(), (
        "say in this file what it is; what changes something is called by the test below"
    )
    assert known - there == set(), "these are gone"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as made:
        await Indexer(made.temporal, await made.store.database()).catch_up()
        async with Worker(made, [ac_failing, ac_asking, ac_stumbling]):
            yield made


async def test_every_change_leaves_who_and_why(client: Client) -> None:
    for name, change in CHANGES.items():
        who = f"Ada of {name}"
        await change(client, {"by": who, "reason": "why not"})
        told = await client.runs.actions(by=who)
        assert told, f"{name} is not recorded"
        assert all("done" in action.result for action in told), (name, told)
        assert {action.why for action in told} <= {REASONS.get(name, "why not")}, name
        assert all(action.run_id or action.subject or action.filter for action in told), name


async def test_what_was_done_to_one_thing_is_listed(client: Client) -> None:
    await client.triggers.create("one", ac_asking, on=NEVER, note="soon", by="Ada")
    await client.triggers.pause("one", "holidays", by="Bob")
    await client.triggers.create("other", ac_asking, on=NEVER)
    with pytest.raises(NotFound):
        await client.triggers.delete("one'; DROP TABLE audit_log --", by="Eve")
    told = [(a.what, a.who, a.why) for a in await client.runs.actions(subject="trigger one")]
    assert told == [("pause trigger", "Bob", "holidays"), ("create trigger", "Ada", "soon")]
    [failed] = await client.runs.actions(by="Eve")
    assert (failed.what, failed.subject) == ("delete trigger", "trigger one'; DROP TABLE audit_log --")
    assert failed.result.startswith("failed: there is no trigger")
    [other] = await client.runs.actions(subject="trigger other")
    assert "@" in other.who
    assert other.details == {"workflow": "ac_asking", "on": str(NEVER), "replace": False}


# What is called of each, with who and why; it makes what it needs.


async def failed(client: Client, name: str) -> Run[Any]:
    """A run that has failed, and is stored."""
    run: Run[Any] = await client.start(ac_failing, name, id=name)
    with contextlib.suppress(RunFailed):
        await run.result()
    await Indexer(client.temporal, await client.store.database()).catch_up()
    return run


async def letter(client: Client, name: str) -> int:
    """The dead letter of a run that has failed."""
    await failed(client, name)
    [found] = await client.dead_letters.list(run_id=name)
    return found.id


async def asking(client: Client, name: str) -> Run[Any]:
    """A run that waits for a decision."""
    run: Run[Any] = await client.start(ac_asking, id=name)
    await eventually(lambda: client.approvals.list(run_id=name))
    return run


async def stumbling(client: Client, name: str) -> Run[Any]:
    """A run whose step waits for its next attempt."""
    run: Run[Any] = await client.start(ac_stumbling, id=name)

    async def waits() -> bool:
        return any(one.state is StepState.RETRYING for one in (await run.describe()).steps)

    await eventually(waits)
    return run


async def cancel(client: Client, said: Said) -> None:
    await (await asking(client, "cancelled")).cancel(**said)


async def terminate(client: Client, said: Said) -> None:
    await (await asking(client, "terminated")).terminate(**said)


async def pause(client: Client, said: Said) -> None:
    await (await asking(client, "paused")).pause(**said)


async def resume(client: Client, said: Said) -> None:
    await client.get("paused").resume(**said)


async def retry(client: Client, said: Said) -> None:
    await (await failed(client, "retried")).retry(**said)


async def fork(client: Client, said: Said) -> None:
    await client.get("retried").fork(**said)


async def retry_of_runs(client: Client, said: Said) -> None:
    await failed(client, "retried-2")
    await client.runs.retry("retried-2", **said)


async def fork_of_runs(client: Client, said: Said) -> None:
    await client.runs.fork("retried", **said)


async def retry_now(client: Client, said: Said) -> None:
    await (await stumbling(client, "tried-now")).retry_now("ac_stumble", **said)


async def pause_step(client: Client, said: Said) -> None:
    await (await stumbling(client, "held")).pause_step("ac_stumble", **said)


async def resume_step(client: Client, said: Said) -> None:
    await client.get("held").resume_step("ac_stumble", **said)


async def update(client: Client, said: Said) -> None:
    await client.workflows.push(DOCUMENT)
    run = await client.workflows.start("ac", id="stepped-in")
    await eventually(lambda: client.approvals.list(run_id=run.id))
    await run.update("skip_node", "ask", **said)


async def bulk(client: Client, said: Said) -> None:
    await asking(client, "many")
    await Indexer(client.temporal, await client.store.database()).catch_up()
    await client.runs.bulk("cancel", RunFilter(workflows=["ac_asking"], open=True), **said)


async def continue_bulk(client: Client, said: Said) -> None:
    [before] = await client.runs.actions(what="bulk cancel")
    await client.runs.continue_bulk(before.id, by=said["by"])


async def decide(client: Client, said: Said) -> None:
    await asking(client, "decided")
    await client.approvals.decide("decided", "may-it", approved=True, by=said["by"])


async def redrive(client: Client, said: Said) -> None:
    await client.dead_letters.redrive(await letter(client, "redriven"), **said)


async def redrive_many(client: Client, said: Said) -> None:
    await letter(client, "redriven-2")
    await client.dead_letters.redrive_many(fingerprint=None, workflow="ac_failing", **said)


async def discard(client: Client, said: Said) -> None:
    await client.dead_letters.discard(await letter(client, "discarded"), **said)


async def create_trigger(client: Client, said: Said) -> None:
    await client.triggers.create("ac", ac_asking, on=NEVER, **said)


async def update_trigger(client: Client, said: Said) -> None:
    await client.triggers.update("ac", on=Interval(timedelta(days=1)), **said)


async def pause_trigger(client: Client, said: Said) -> None:
    await client.triggers.pause("ac", said["reason"], by=said["by"])


async def resume_trigger(client: Client, said: Said) -> None:
    await client.triggers.resume("ac", said["reason"], by=said["by"])


async def fire(client: Client, said: Said) -> None:
    await client.triggers.fire("ac", **said)


async def backfill(client: Client, said: Said) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    assert await client.triggers.backfill("ac", start, start + timedelta(days=1), **said) == 2


async def delete_trigger(client: Client, said: Said) -> None:
    await client.triggers.delete("ac", **said)


async def sync(client: Client, said: Said) -> None:
    assert (await client.triggers.sync([ac_declaring], by=said["by"])).created == ["ac-declared"]


async def create_workflow(client: Client, said: Said) -> None:
    await client.workflows.create({**DOCUMENT, "name": "ac-made"}, by=said["by"], note=said["reason"])


async def update_workflow(client: Client, said: Said) -> None:
    await client.workflows.update({**DOCUMENT, "name": "ac-made"}, by=said["by"], note=said["reason"])


async def push(client: Client, said: Said) -> None:
    await client.workflows.push({**DOCUMENT, "name": "ac-made"}, by=said["by"], note=said["reason"])


async def delete_workflow(client: Client, said: Said) -> None:
    await client.workflows.delete("ac-made", **said)


async def restore(client: Client, said: Said) -> None:
    await client.workflows.restore("ac-made", **said)


async def unsubscribe(client: Client, said: Said) -> None:
    async for _ in client.events.listen(channels=["ac"], subscription="ac", follow=False):
        pass
    await client.events.unsubscribe("ac", **said)


async def start_chaos(client: Client, said: Said) -> None:
    await client.chaos.start("gentle", seed=7, **said)


async def change_chaos(client: Client, said: Said) -> None:
    await client.chaos.profile("moderate", **said)


async def stop_chaos(client: Client, said: Said) -> None:
    await client.chaos.stop(**said)


async def inject(client: Client, said: Said) -> None:
    await client.chaos.inject("error", step="nobody's", run="nobody", **said)


CHANGES: dict[str, Callable[[Client, Said], Awaitable[None]]] = {
    "Run.cancel": cancel,
    "Run.terminate": terminate,
    "Run.pause": pause,
    "Run.resume": resume,
    "Run.retry": retry,
    "Run.fork": fork,
    "Run.retry_now": retry_now,
    "Run.pause_step": pause_step,
    "Run.resume_step": resume_step,
    "Run.update": update,
    "runs.retry": retry_of_runs,
    "runs.fork": fork_of_runs,
    "runs.bulk": bulk,
    "runs.continue_bulk": continue_bulk,
    "approvals.decide": decide,
    "dead_letters.redrive": redrive,
    "dead_letters.redrive_many": redrive_many,
    "dead_letters.discard": discard,
    "triggers.create": create_trigger,
    "triggers.update": update_trigger,
    "triggers.pause": pause_trigger,
    "triggers.resume": resume_trigger,
    "triggers.fire": fire,
    "triggers.backfill": backfill,
    "triggers.delete": delete_trigger,
    "triggers.sync": sync,
    "workflows.create": create_workflow,
    "workflows.update": update_workflow,
    "workflows.push": push,
    "workflows.delete": delete_workflow,
    "workflows.restore": restore,
    "events.unsubscribe": unsubscribe,
    "chaos.start": start_chaos,
    "chaos.profile": change_chaos,
    "chaos.stop": stop_chaos,
    "chaos.inject": inject,
}
REASONS = {
    "approvals.decide": "",
    "runs.continue_bulk": "",
    "triggers.sync": f"{__name__}:ac_declaring declares it",
}
"""Where no reason is given."""


def _methods() -> Iterator[str]:
    nouns = {name: type(noun) for name, noun in vars(Client.embedded(None)).items() if name[0] != "_"}
    for noun, kind in {"Client": Client, "Run": Run, **nouns}.items():
        for name, _ in inspect.getmembers(kind, inspect.isroutine):
            if not name.startswith("_"):
                yield f"{noun}.{name}"


def _named(table: Mapping[str, str]) -> Iterator[str]:
    return (f"{noun}.{name}" for noun, names in table.items() for name in names.split())
