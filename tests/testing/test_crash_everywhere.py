"""`crash_everywhere`: that it kills where it says, and that it finds what a crash breaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from temporalio.workflow import info

from holdfast import (
    Client,
    Dag,
    InvalidInput,
    Permanent,
    RetryPolicy,
    Run,
    Worker,
    approval,
    step,
    step_info,
    uuid4,
    workflow,
)
from holdfast.testing import crash_everywhere


class Bank:
    """Services with and without keys that tell a repeated call."""

    def __init__(self) -> None:
        self.once: dict[str, dict[str, int]] = {}
        self.paid: dict[str, Counter[str]] = {}

    def pay(self, key: str, cents: int) -> None:
        run, _, call = key.rpartition("/")
        self.once.setdefault(run, {})[call] = cents
        self.paid.setdefault(run, Counter())[call] += 1


BANK = Bank()
TAKES: list[str] = []


@step
async def crash_pay(cents: int) -> int:
    BANK.pay(step_info().idempotency_key, cents)
    return cents


@crash_pay.compensate
async def crash_refund(cents: int, paid: int | None) -> None:
    BANK.pay(step_info().idempotency_key, -cents)


@step
def crash_double(cents: int) -> int:
    return 2 * cents


@step(local=True)
async def crash_add(one: int, other: int) -> int:
    return one + other


@step
async def crash_refuse(cents: int) -> None:
    raise Permanent(f"{cents} is too much")


@step
async def crash_flaky(cents: int) -> int:
    if step_info().attempt == 1:
        raise ConnectionError("not yet")
    return cents


@workflow(sandboxed=False)  # each run and each replay would import this module again
async def crash_child(cents: int) -> int:
    return await crash_add(await crash_double(cents), 1)


@workflow(sandboxed=False)
async def crash_shop(cents: int) -> int:
    total = 0
    for part in range(2):
        total += await crash_pay(cents + part)
    both = await asyncio.gather(crash_double(total), crash_double(1))
    await asyncio.sleep(3600)
    total = await crash_add(await crash_flaky(sum(both)), await crash_child(5))
    return await crash_add(total, 1)


@workflow
async def crash_undone(cents: int) -> None:
    await crash_pay(cents)
    await crash_refuse(cents)


@workflow(sandboxed=False)
async def crash_forgetful(cents: int) -> int:
    TAKES.append(info().workflow_id)
    if TAKES.count(info().workflow_id) == 1:
        await crash_double(cents)
    return await crash_pay(cents)


@step(retry=RetryPolicy(max_attempts=1))
async def crash_never_again(cents: int) -> int:
    return cents


@workflow
async def crash_one_attempt(cents: int) -> int:
    return await crash_never_again(cents)


@workflow
async def crash_asked() -> bool:
    decision = await approval("Go on?", name="go", timeout=timedelta(days=1))
    await crash_double(1)
    return decision.approved


@workflow
async def crash_chance() -> str:
    return str(uuid4())


def once(run: str) -> object:
    return BANK.once.get(run)


def paid(run: str) -> object:
    return BANK.paid.get(run)


async def test_a_sound_workflow_ends_in_the_same_way_wherever_its_worker_dies(
    holdfast_client: Client,
) -> None:
    report = await crash_everywhere(
        crash_shop,
        100,
        client=holdfast_client,
        worker=lambda client: Worker(client, [crash_shop, crash_child]),
        effects=once,
    )
    assert not report.differences
    assert len(report.points) >= 40, report
    assert len(report.unreached) < 10, report
    # Crashes that hit nothing would show nothing: the payment ran again where its report was lost, and where it was in
    # hand as the task before it was recorded, and nowhere else.
    assert report.repeated["crash_pay-1"] in {1, 2}, report.repeated
    whats = {point.what for point in report.points}
    assert {"crash_pay-1", "crash_flaky-1", "crash_add-1", "workflow task 1"} <= whats
    assert any(what.endswith("/crash_double-1") for what in whats), "steps of children too"


async def test_a_failing_run_undoes_its_steps_wherever_its_worker_dies(holdfast_client: Client) -> None:
    report = await crash_everywhere(crash_undone, 7, client=holdfast_client, effects=once)
    assert any("compensate" in point.what or "undo" in point.what for point in report.points), report.points
    assert report.failure is not None, "who thinks that it completes is told"
    assert f"each run fails, as the undisturbed one did: {report.failure}" in str(report)


async def test_an_effect_that_happens_twice_is_found_and_named(holdfast_client: Client) -> None:
    report = await crash_everywhere(crash_undone, 7, client=holdfast_client, effects=paid, check=False)
    found = {(one.point.what, one.point.moment): one.what for one in report.differences}
    assert "'crash_pay-1': 2" in found["crash_pay-1", "ends"]
    assert ("crash_pay-1", "is recorded") not in found


async def test_workflow_code_that_remembers_outside_of_its_run_is_found(holdfast_client: Client) -> None:
    try:
        found = str(
            await crash_everywhere(
                crash_forgetful, 7, client=holdfast_client, check=False, timeout=timedelta(seconds=10)
            )
        )
    except InvalidInput as error:  # an undisturbed run had to be replayed too
        found = str(error)
    assert "TMPRL1100" in found or "two runs without any crash differ" in found


async def test_a_step_with_one_attempt_is_found(holdfast_client: Client) -> None:
    with pytest.raises(
        AssertionError, match=r"as crash_never_again-1 (begins|ends) \(event \d+\): run .* failed"
    ):
        await crash_everywhere(crash_one_attempt, 7, client=holdfast_client)
    report = await crash_everywhere(crash_one_attempt, 7, client=holdfast_client, check=False)
    # The task that schedules it may hand it out at once, so that it is in hand as that one is recorded.
    assert {(found.point.what, found.point.moment) for found in report.differences} >= {
        ("crash_never_again-1", "begins"),
        ("crash_never_again-1", "ends"),
    }, report
    assert "the worker died" in report.differences[0].what


async def test_a_child_that_nobody_serves_is_refused_and_says_what_to_do(holdfast_client: Client) -> None:
    with pytest.raises(InvalidInput, match=r"crash_child is not registered .* served by worker="):
        await crash_everywhere(crash_shop, 100, client=holdfast_client)


async def test_what_differs_without_crashes_is_refused(holdfast_client: Client) -> None:
    with pytest.raises(InvalidInput, match="two runs without any crash differ"):
        await crash_everywhere(crash_chance, client=holdfast_client)
    await crash_everywhere(
        crash_chance, client=holdfast_client, same=lambda one, other: len(one) == len(other)
    )


def test_decisions_come_from_outside_and_no_plugin_is_needed() -> None:
    async def decide(run: Run[bool]) -> str:
        return await run._client.approvals.decide(run.id, "go", approved=True)

    report = asyncio.run(crash_everywhere(crash_asked, during=decide))
    assert not report.differences


async def test_a_dag_is_crashed_everywhere_too(holdfast_client: Client) -> None:
    dag = Dag("crash_dag")
    dag.add_step(crash_double, id="first", arguments={"cents": "{{ input }}"})
    dag.add_step(crash_double, id="then", arguments={"cents": "{{ first }}"})
    report = await crash_everywhere(dag, 3, client=holdfast_client)
    assert {point.what for point in report.points} >= {"first", "then"}, report.points
