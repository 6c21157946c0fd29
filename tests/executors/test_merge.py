"""`merge`: one value of several outputs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import Client, Dag, RunFailed, Worker
from holdfast.testing import ContractCheck, ExecutorCase, executor_contract
from holdfast_executors.merge import Merge

PARTS = {"b": {"x": {"one": 1}, "y": [1]}, "a": {"x": {"two": 2}, "y": [2]}, "c": None}
LISTS = {"b": [3], "a": [1, 2], "c": None}

CHECKS = executor_contract(
    Merge,
    good=[
        ExecutorCase({}, PARTS),
        ExecutorCase({"into": "list", "skipped": "keep"}, PARTS),
        ExecutorCase({"into": "concatenated"}, LISTS),
        ExecutorCase({"into": "deep", "order": ["b", "a"]}, PARTS),
    ],
    bad=[
        {"into": "heap"},
        ExecutorCase({"order": ["a", "nobody"]}, PARTS),
        ExecutorCase({"order": ["a", "a"]}, PARTS),
        ExecutorCase({"order": []}, PARTS),
        ExecutorCase({"into": "concatenated"}, PARTS),
        ExecutorCase({"into": "deep"}, LISTS),
        ExecutorCase({"into": "deep", "skipped": "keep"}, PARTS),
        ExecutorCase({}, [1, 2]),
    ],
)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_it_keeps_the_contract(check: ContractCheck) -> None:
    check()


@pytest.mark.parametrize(
    ("config", "input", "output"),
    [
        ({}, PARTS, {"a": PARTS["a"], "b": PARTS["b"]}),
        ({"skipped": "keep"}, LISTS, LISTS),
        ({"into": "list"}, LISTS, [[1, 2], [3]]),
        ({"into": "list", "order": ["c", "b"], "skipped": "keep"}, LISTS, [None, [3]]),
        ({"into": "concatenated", "order": ["b", "a"]}, LISTS, [3, 1, 2]),
        ({"into": "deep"}, PARTS, {"x": {"one": 1, "two": 2}, "y": [1]}),
        ({"into": "deep", "order": ["b", "a"]}, PARTS, {"x": {"one": 1, "two": 2}, "y": [2]}),
        ({"into": "deep"}, {}, {}),
    ],
)
async def test_what_it_gives(config: dict[str, Any], input: object, output: object) -> None:
    assert await Merge.call(config, input=input) == output


OBJECTS = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3), max_leaves=6
).filter(lambda value: isinstance(value, dict))


@settings(max_examples=50)
@given(one=OBJECTS, two=OBJECTS)
async def test_merging_deep_keeps_every_member_and_of_two_values_the_later(one: Any, two: Any) -> None:
    def agrees(found: Any, first: Any, second: Any) -> bool:
        if not (isinstance(found, dict) and isinstance(first, dict) and isinstance(second, dict)):
            return bool(found == second)
        alone = {
            key: value for key, value in {**first, **second}.items() if not (key in first and key in second)
        }
        return found.keys() == first.keys() | second.keys() and all(
            found[key] == alone[key] if key in alone else agrees(found[key], first[key], second[key])
            for key in found
        )

    assert agrees(await Merge.call({"into": "deep"}, input={"a": one, "b": two}), one, two)


async def test_it_merges_the_branches_of_a_dag(holdfast_client: Client) -> None:
    dag = Dag("merging")
    for name, value in {"left": [1], "right": [2], "never": [3]}.items():
        when = {"when": "false"} if name == "never" else {}
        dag.node(name, executor="transform", config={"template": value}, **when)
    branches = ["left", "right", "never"]
    dag.node("all", executor="merge", config={"into": "concatenated"}, depends_on=branches, local=True)
    wrong = Dag("wrong_merge")
    wrong.node("left", executor="transform", config={"template": 1})
    wrong.node("all", executor="merge", config={"into": "deep"}, depends_on=["left"])
    async with Worker(holdfast_client, []):
        assert await holdfast_client.run(dag, None) == [1, 2]
        with pytest.raises(RunFailed, match="the output of 'left' is no object but the number 1"):
            await holdfast_client.run(wrong, None)
