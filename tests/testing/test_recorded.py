"""Recorded runs as tests: green with the code that was recorded, red with code that does something else."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast import Client, InvalidInput, RunFailed, Worker, step, workflow
from holdfast.testing import RecordedRun, RecordedStep, check_recorded, fresh_registry
from holdfast.testing.recorded_file import recorded_test

SHOP = """
import asyncio
from datetime import timedelta
from pydantic import BaseModel
from holdfast import Permanent, RetryPolicy, approval, step, uuid4, wait_for, workflow

class Parcel(BaseModel):
    order: str
    grams: int

@step(retry=RetryPolicy(max_attempts=2, first_delay=timedelta(milliseconds=1)))
async def charge(order: str, key: str, *, cents: int = 5) -> str:
    return f"receipt \\N{GRINNING FACE} '{order}'"

@charge.compensate
async def refund(order: str, key: str, cents: int, receipt: str | None) -> None: ...

@step
async def pack(order: str) -> Parcel:
    return Parcel(order=order, grams=700)

@step(local=True)
async def weigh(parcel: Parcel) -> int:
    return parcel.grams

@step
async def ship(parcel: Parcel, to: str) -> str:
    if to == "nowhere":
        raise Permanent("no such place")
    return f"{parcel.order} to {to}"

@workflow
async def inner(parcel: Parcel, to: str) -> str:
    return await ship(parcel, to)

@workflow
async def shop_order(order: str, express: bool = False) -> str:
    receipt = await charge(order, str(uuid4()))
    parcel, other = await asyncio.gather(pack(order), pack("gift"))
    await weigh(parcel)
    decision = await approval("Ship it?", name="ship", timeout=timedelta(days=2))
    to = await wait_for("address", str)
    return await inner(parcel, to) + f" {decision.approved}"
"""

CHARGE = "    receipt = await charge(order, str(uuid4()))\n"


def load(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    importlib.invalidate_caches()
    return importlib.import_module(name)


async def ended(client: Client, workflow: Any, *args: Any, run_id: str, to: str) -> None:
    async with Worker(client, [sys.modules[workflow.fn.__module__]]):
        run = await client.start(workflow, *args, id=run_id)
        await run.send("ship", {"approved": True})
        await run.send("address", to)
        try:
            await run.result(timeout=timedelta(seconds=30))
        except RunFailed:
            assert to == "nowhere"


def run_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )


async def test_the_file_is_green_as_it_is_and_red_when_the_workflow_changes(
    holdfast_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recorded_shop.py").write_text(SHOP, "utf-8")
    with fresh_registry():
        shop = load(tmp_path, "recorded_shop", monkeypatch)
        for name, to in {"good": "Oslo", "bad": "nowhere"}.items():
            await ended(holdfast_client, shop.shop_order, "o-7", run_id=f"{name}.run", to=to)
            text = await recorded_test(holdfast_client, f"{name}.run", shop.shop_order, "recorded_shop")
            (tmp_path / f"test_{name}.py").write_text(text, "utf-8")
        # An id that another client gave: code, if it got into the file otherwise than as a string.
        evil = 'x"""; raise SystemExit("evil"); """'
        async with Worker(holdfast_client, [shop]):
            handle = await holdfast_client.temporal.start_workflow(
                "shop_order", args=["o-7"], id=evil, task_queue="default"
            )
            run = holdfast_client.get(handle.id)
            await run.send("ship", {"approved": True})
            await run.send("address", "Oslo")
            await run.result(timeout=timedelta(seconds=30))
        text = await recorded_test(holdfast_client, evil, shop.shop_order, "recorded_shop")
        (tmp_path / "test_evil.py").write_text(text, "utf-8")
    assert "ANY" in (tmp_path / "test_good.py").read_text(
        "utf-8"
    )  # for the key that the workflow makes by chance
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\npythonpath = .\nasyncio_default_fixture_loop_scope = function\n", "utf-8"
    )
    done = await asyncio.to_thread(run_tests, tmp_path)
    assert "3 passed" in done.stdout, done.stdout + done.stderr

    assert CHARGE in SHOP
    (tmp_path / "recorded_shop.py").write_text(SHOP.replace(CHARGE, ""), "utf-8")
    changed = await asyncio.to_thread(run_tests, tmp_path)
    assert changed.returncode == 1
    assert "3 failed" in changed.stdout
    assert "step 'charge' was called 1 times less than recorded" in changed.stdout


@step
async def fetched(number: int) -> int:
    raise AssertionError("the step itself ran")


@step
async def written(number: int) -> None:
    raise AssertionError("the step itself ran")


@workflow
async def checked(number: int) -> int:
    found = await fetched(number)
    await written(found)
    return found + 1


GOOD = RecordedRun(
    id="checked",
    input=[1],
    steps=[RecordedStep("fetched", [1], result=10), RecordedStep("written", [10])],
    in_order=True,
    result=11,
)


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        (GOOD, None),
        (
            RecordedRun(id="a", input=[1], steps=[*GOOD.steps, RecordedStep("written", [3])], result=11),
            "1 times less",
        ),
        (RecordedRun(id="b", input=[2], steps=GOOD.steps, result=11), r"'fetched' was called with \[2\]"),
        (RecordedRun(id="c", input=[1], steps=GOOD.steps[:1], result=11), "which was not recorded"),
        (
            RecordedRun(id="d", input=[1], steps=GOOD.steps[::-1], in_order=True, result=11),
            "before 'written'",
        ),
        (RecordedRun(id="e", input=[1], steps=GOOD.steps, result=12), "gave 11; recorded was 12"),
        (RecordedRun(id="f", input=[1], steps=GOOD.steps, error=("ValueError", "x")), "recorded was"),
    ],
)
async def test_a_difference_is_said(holdfast_client: Client, recorded: RecordedRun, said: str | None) -> None:
    if said is None:
        await check_recorded(holdfast_client, checked, recorded)
        return
    with pytest.raises(AssertionError, match=said):
        await check_recorded(holdfast_client, checked, recorded)


async def test_only_a_run_that_ended_by_itself_is_a_test(holdfast_client: Client) -> None:
    run = await holdfast_client.start(checked, 1, id="not-ended")
    with pytest.raises(InvalidInput, match="is open"):
        await recorded_test(holdfast_client, run.id, checked, "shop")
    await run.terminate()
    with pytest.raises(InvalidInput, match="terminated from outside"):
        await recorded_test(holdfast_client, run.id, checked, "shop")
