"""What is wrong with the tools of a node is found before the start."""

from __future__ import annotations

from typing import Any

import pytest
from tests.executors.node_tools import Find, order

from holdfast.authoring.catalogue import validate_here
from holdfast.spec.model import DagSpec


def spec_of(tools: Any, prompt: str = "?", **node: Any) -> DagSpec:
    config = {"model": "m", "prompt": prompt, "tools": tools}
    return DagSpec.model_validate(
        {"name": "one", "nodes": [{"id": "answer", "type": "llm", "config": config, **node}]}
    )


SERVED = (order.name, Find.type)
"""Named below; found since they are imported."""

WRONG: list[tuple[list[dict[str, Any]], str, str]] = [
    ([{"step": "node_ordr"}], "HF-D030", "Did you mean 'node_order'"),
    ([{"executor": "node_fnd"}], "HF-D030", "Did you mean 'node_find'"),
    ([{"executor": "node_find", "takes": ["quarry"]}], "HF-D031", "Did you mean 'query'"),
    ([{"executor": "node_find", "config": {"where": 1}}], "HF-D031", "'where'"),
    (
        [{"executor": "node_find", "takes": ["key"], "config": {"key": "a"}}],
        "HF-D031",
        "both gives 'key'",
    ),
    ([{"executor": "http", "takes": ["url"], "config": {"poll": {}}}], "HF-D032", "'poll'"),
    (
        [{"executor": "http", "takes": ["url"], "config": {"max_redirects": "soon"}}],
        "HF-D031",
        "a whole number",
    ),
    ([{"executor": "http", "config": {"method": "GET"}}], "HF-D031", "'url'"),
    ([{"step": "{{ input.step }}"}], "HF-D031", "has a template in 'step'"),
    ([{"step": "node_order", "takes": ["number"]}], "HF-D031", "takes and config are for executors"),
    ([{"step": "node_order"}, {"name": "fly"}], "HF-D031", "some are called here and some are not"),
    ([{"step": "node_order"}, {"step": "node_order"}], "HF-D031", "two have the same name"),
    ([{"step": "node_order", "executor": "node_find"}], "HF-D031", "it names one of step and executor"),
]


@pytest.mark.parametrize(("tools", "code", "says"), WRONG)
@pytest.mark.parametrize("prompt", ["?", "{{ input }}"])
def test_what_is_wrong_with_tools_is_found_before_the_start(
    tools: Any, code: str, says: str, prompt: str
) -> None:
    found = validate_here(spec_of(tools, prompt=prompt), complete=True)
    [finding] = [one for one in found if says in f"{one.message} {one.fix}"]
    assert (finding.code, finding.node) == (code, "answer")
    assert finding.path.startswith("nodes[0].config")


@pytest.mark.parametrize("bad", [5, "a", [], {}, None, [5], {"a": 1}])
@pytest.mark.parametrize("key", ["step", "executor", "takes", "config", "name"])
def test_tools_of_any_form_are_checked(key: str, bad: Any) -> None:
    for entry in ({key: bad}, {"executor": "node_find", key: bad}, {"step": "node_order", key: bad}, bad):
        for prompt in ("?", "{{ input }}"):
            for found in validate_here(
                spec_of([entry, {"step": "node_order"}], prompt=prompt), complete=True
            ):
                assert found.node == "answer"


def test_a_map_over_tools_is_found_before_the_start() -> None:
    for tools, codes in (([{"step": "node_order"}], ["HF-D032"]), ([{"name": "fly"}], [])):
        assert [found.code for found in validate_here(spec_of(tools, map={"over": "2"}))] == codes
