"""Today's code against recorded histories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast import Client, InvalidInput, NotFound, Worker, Workflow, step, workflow
from holdfast.testing import ReplayDiffers, fresh_registry, replay_check, replay_report, save_history

from . import recorded_flows, recorded_patch
from .recorded_flows import ask, count, saga, weigh_all

RECORDED = Path(__file__).parents[1] / "histories" / "holdfast"
ALL = [ask, count, saga, weigh_all]


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
async def test_recorded_runs_go_on_with_todays_code(path: Path) -> None:
    await replay_check(path, ALL)


async def test_a_pattern_a_folder_and_a_module_are_taken() -> None:
    reports = await replay_report(f"{RECORDED}/c*.json", [recorded_flows])
    assert [(one.run_id, one.difference) for one in reports] == [
        ("compensated", None),
        ("completed", None),
        ("continued", None),
    ]
    assert len(await replay_report(RECORDED, ALL)) == 6
    assert str(reports[0]) == "compensated (recorded.saga): the same"


async def test_a_run_that_has_not_begun_fits_any_code(holdfast_client: Client, tmp_path: Path) -> None:
    run = await holdfast_client.start(count, 3)
    path = await save_history(run, tmp_path / "waiting.json")
    [report] = await replay_report(path, ALL)
    assert report.difference is None


@pytest.mark.parametrize(
    ("code", "fits"),
    [("before", {"before"}), ("patched", {"before", "patched"}), ("after", {"patched"})],
)
async def test_a_patch_takes_runs_from_both_sides_of_it(code: str, fits: set[str]) -> None:
    with fresh_registry():
        reports = await replay_report(recorded_patch.FOLDER, [recorded_patch.version(code)])
    assert {one.run_id for one in reports} == {"before", "patched"}
    assert {one.run_id for one in reports if one.difference is None} == fits


def declare(body: str) -> Workflow[..., Any]:
    """A version of one workflow: `a` and `b` are steps, `c` a local one."""

    @step
    async def a(x: int) -> int:
        return x

    @step
    async def b(x: int) -> int:
        return x

    @step(local=True)
    async def c(x: int) -> int:
        return x

    @workflow(name="versions")
    async def versions(x: int) -> int:
        for name in body:
            await {"a": a, "b": b, "c": c}[name](x)
        if body == "":
            raise ValueError(x)
        return x

    return versions


@pytest.mark.parametrize(
    ("body", "step_name"),
    [("bcb", "a"), ("acc", "b"), ("abb", "c"), ("ab", "c"), ("", "a"), ("acba", "a")],
)
async def test_the_first_difference_names_the_step(
    body: str, step_name: str | None, holdfast_client: Client, tmp_path: Path
) -> None:
    with fresh_registry():
        old = declare("acb")
        async with Worker(holdfast_client, [old]):
            run = await holdfast_client.start(old, 1, id="one")
            await run.result()
        await save_history(run, tmp_path / "deep" / "one.json")
    with fresh_registry():
        with pytest.raises(ReplayDiffers) as raised:
            await replay_check(tmp_path / "deep", [declare(body)])
        (replayed,) = raised.value.replayed
        assert (replayed.run_id, replayed.workflow, replayed.step) == ("one", "versions", step_name)
        assert "force_cause" not in str(raised.value)
        assert "patched(" in str(raised.value)
        await replay_check(await run.history(), [declare("acb")], client=holdfast_client)


async def test_what_is_missing_or_no_history_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file matches"):
        await replay_check(f"{tmp_path}/*.json", ALL)
    with pytest.raises(NotFound, match=r"recorded\.ask"):
        await replay_check(RECORDED / "approval.json", [saga])
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is no history"):
        await replay_check(tmp_path / "x.json", ALL)


def test_recorded_histories_name_no_path() -> None:
    for path in RECORDED.glob("*.json"):
        assert ".py" not in path.read_text("utf-8")
