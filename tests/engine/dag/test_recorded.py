"""Today's interpreter against recorded runs of DAGs and maps: open runs go on with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.engine.dag.interpreter import Interpreter
from holdfast.spec.graph import Graph
from holdfast.testing import ReplayDiffers, replay_check

from .recorded_flows import code_child, map_in_code, small

RECORDED = Path(__file__).parents[2] / "histories" / "dag"
ALL = [code_child, map_in_code]


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
async def test_recorded_runs_go_on_with_todays_interpreter(path: Path) -> None:
    with small():
        await replay_check(path, ALL)


async def test_another_order_of_nodes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Interpreter, "_urgent_first", lambda self, ids: sorted(ids, reverse=True))
    with pytest.raises(ReplayDiffers, match="choices"):
        await replay_check(RECORDED / "choices.json", ALL)


async def test_another_choice_of_who_gets_a_place_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graph, "remaining", lambda self, durations: dict.fromkeys(durations, 1.0))
    with pytest.raises(ReplayDiffers, match="crowded"):
        await replay_check(RECORDED / "crowded.json", ALL)


def test_recordings_name_no_path() -> None:
    assert len(list(RECORDED.glob("*.json"))) > 18
    for path in RECORDED.glob("*.json"):
        assert ".py" not in path.read_text("utf-8")
