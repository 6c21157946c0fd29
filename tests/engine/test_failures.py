"""What becomes of exceptions: retries, delays, what workflow code and clients get."""

from __future__ import annotations

import asyncio
import pickle
import random
import sys
import time
from datetime import timedelta

import pytest

from holdfast import (
    AlreadyStarted,
    Client,
    HoldfastError,
    InvalidInput,
    Permanent,
    RateLimited,
    RetryAfter,
    RetryPolicy,
    RunCancelled,
    RunFailed,
    RunState,
    RunTerminated,
    StepFailed,
    Unavailable,
    Worker,
    step,
    workflow,
)
from holdfast.engine.failures import step_failure
from holdfast.errors import error_types

TIMES: list[float] = []
QUICK = RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=10), jitter=0)


class NotWorthIt(Exception):
    pass


@step(retry=RetryPolicy(max_attempts=3, first_delay=timedelta(milliseconds=10), non_retryable=(NotWorthIt,)))
async def fail_as(kind: str) -> str:
    TIMES.append(time.monotonic())
    match kind:
        case "permanent":
            raise Permanent("never")
        case "input":
            raise InvalidInput("bad value", field="x")
        case "unavailable":
            raise Unavailable("gone for now")
        case "named":
            raise NotWorthIt("no use")
        case "error":
            raise KeyError("k")
        case "after":
            raise RetryAfter(timedelta(seconds=1.2), "come back")
        case "limited":
            raise RateLimited("slow down", retry_after=timedelta(seconds=1.2))
        case "empty":
            raise ValueError
        case "group":
            raise ExceptionGroup("several", [ValueError("a"), KeyError("b")])
        case _:
            sys.exit(3)


@step(retry=QUICK)
def exit_in_a_thread() -> None:
    TIMES.append(time.monotonic())
    sys.exit(4)


@step(timeout=timedelta(seconds=1), retry=RetryPolicy(max_attempts=1))
async def fail_late() -> None:
    await asyncio.sleep(30)


@workflow
async def fail_run(kind: str) -> str:
    if kind == "late":
        await fail_late()
    if kind == "thread":
        await exit_in_a_thread()
    return await fail_as(kind)


@workflow
async def fail_wait() -> None:
    await asyncio.sleep(1_000_000)


@workflow
async def fail_thread() -> None:
    await asyncio.to_thread(print)


async def test_a_thread_in_workflow_code_is_refused_by_name(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [fail_thread]):
        with pytest.raises(RunFailed, match="run_in_executor is not there in workflow code") as failed:
            await holdfast_client.run(fail_thread)
    assert failed.value.error_type == "NonDeterministic"


@pytest.mark.parametrize(
    ("kind", "attempts", "message"),
    [
        ("permanent", 1, "step 'fail_as' failed: Permanent: never"),
        ("input", 1, "step 'fail_as' failed: InvalidInput: bad value"),
        ("named", 1, "step 'fail_as' failed: NotWorthIt: no use"),
        ("unavailable", 3, "step 'fail_as' failed after 3 attempts: Unavailable: gone for now"),
        ("error", 3, "step 'fail_as' failed after 3 attempts: KeyError: 'k'"),
        ("empty", 3, "step 'fail_as' failed after 3 attempts: ValueError: ValueError"),
        ("group", 3, "step 'fail_as' failed after 3 attempts: ExceptionGroup: several"),
        ("exit", 3, "step 'fail_as' failed after 3 attempts: SystemExit: 3"),
        ("thread", 3, "step 'exit_in_a_thread' failed after 3 attempts: SystemExit: 4"),
    ],
)
async def test_a_failed_step_says_what_happened_and_how_often(
    holdfast_client: Client, kind: str, attempts: int, message: str
) -> None:
    TIMES.clear()
    async with Worker(holdfast_client, [fail_run]):
        with pytest.raises(RunFailed) as failed:
            await holdfast_client.run(fail_run, kind)
    assert len(TIMES) == attempts
    assert message in failed.value.message
    assert failed.value.error_type == "StepFailed"
    assert failed.value.details["step"] in message


@pytest.mark.parametrize("kind", ["after", "limited"])
async def test_the_delay_that_a_step_asks_for_is_kept(holdfast_client: Client, kind: str) -> None:
    TIMES.clear()
    async with Worker(holdfast_client, [fail_run]):
        run = await holdfast_client.start(fail_run, kind)
        while len(TIMES) < 2:  # noqa: ASYNC110 - without waiting for the result no time is skipped
            await asyncio.sleep(0.05)
        assert 1.1 <= TIMES[1] - TIMES[0] < 4
        await run.terminate("seen enough")
        with pytest.raises(RunTerminated, match="seen enough"):
            await run.result()


async def test_a_step_that_takes_too_long_fails_by_name(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [fail_run]):
        with pytest.raises(RunFailed, match="step 'fail_late' timed out: each attempt ran longer"):
            await holdfast_client.run(fail_run, "late")


def test_jitter_stays_within_its_share_and_under_the_longest_delay() -> None:
    random.seed(1)
    policy = RetryPolicy(
        first_delay=timedelta(seconds=1), backoff=2, max_delay=timedelta(seconds=10), jitter=0.5
    )
    for attempt, delay in [(1, 1), (2, 2), (3, 4), (5, 10), (5000, 10)]:
        delays = {
            _seconds(step_failure(ValueError("x"), policy, attempt).next_retry_delay) for _ in range(50)
        }
        assert len(delays) > 10
        assert delay * 0.5 <= min(delays) <= max(delays) <= delay * 1.5


def _seconds(delay: timedelta | None) -> float:
    assert delay is not None
    return delay.total_seconds()


def test_no_jitter_leaves_the_delay_to_the_policy() -> None:
    assert step_failure(ValueError("x"), QUICK, 1).next_retry_delay is None


async def test_a_run_that_is_cancelled_or_terminated_says_so(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [fail_wait]):
        run = await holdfast_client.start(fail_wait)
        await run.cancel()
        with pytest.raises(RunCancelled, match=f"run '{run.id}' was cancelled"):
            await run.result()
        assert await run.status() is RunState.CANCELLED
        run = await holdfast_client.start(fail_wait)
        await run.terminate()
        with pytest.raises(RunTerminated):
            await run.result()
        assert await run.status() is RunState.TERMINATED


@pytest.mark.parametrize("cls", sorted(error_types().values(), key=lambda cls: cls.code))
def test_every_error_survives_pickling(cls: type[HoldfastError]) -> None:
    error = cls("what happened", field="x")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert (str(again), again.message, again.details) == (str(error), error.message, {"field": "x"})


def test_what_errors_carry_survives_pickling() -> None:
    failed = pickle.loads(pickle.dumps(StepFailed("m", step="s", error_type="E", attempts=2)))
    assert (failed.step, failed.error_type, failed.attempts) == ("s", "E", 2)
    limited = pickle.loads(pickle.dumps(RateLimited("m", retry_after=timedelta(seconds=2))))
    assert limited.retry_after == timedelta(seconds=2)
    assert pickle.loads(pickle.dumps(AlreadyStarted("m", run=object()))).run is None
    after = pickle.loads(pickle.dumps(RetryAfter(timedelta(seconds=2), "later")))
    assert (after.delay, str(after)) == (timedelta(seconds=2), "later")


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in _all(HoldfastError) if cls.__module__ == "holdfast.errors"]
    assert len(codes) == len(set(codes))


def _all(cls: type[HoldfastError]) -> list[type[HoldfastError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in _all(child))]


def test_a_policy_that_names_an_exception_means_what_derives_from_it_too() -> None:
    policy = RetryPolicy(non_retryable=(OSError, "LookupError"))
    assert step_failure(FileNotFoundError("gone"), policy, 1).non_retryable
    assert step_failure(KeyError("k"), policy, 1).non_retryable
    assert not step_failure(ValueError("v"), policy, 1).non_retryable
