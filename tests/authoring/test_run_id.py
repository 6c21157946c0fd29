"""Run ids that users give."""

from __future__ import annotations

import pytest

from holdfast import InvalidInput, workflow
from holdfast.authoring.run_id import check_id


@workflow
async def id_child(name: str) -> str:
    return name


@pytest.mark.parametrize("bad", ["", "a" * 201, "../x", "a\x00b", "..", "a b", "é"])
def test_what_is_no_id_is_refused_for_runs_and_children(bad: str) -> None:
    with pytest.raises(InvalidInput):
        check_id(bad)
    with pytest.raises(InvalidInput):
        id_child.with_options(id=bad)


def test_a_childs_id_stays_when_other_options_change() -> None:
    assert id_child.with_options(id="mine").with_options(queue="other").child_id == "mine"
