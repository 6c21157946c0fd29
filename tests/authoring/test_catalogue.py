"""What a process finds in a document with the steps, executors and workflows that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import Depends, InvalidInput, step, workflow
from holdfast.authoring.catalogue import validate_here
from holdfast.authoring.dag import Dag
from holdfast.authoring.registry import fresh_registry
from holdfast.spec.document import load_value
from holdfast.spec.finding import Finding


class Order(BaseModel):
    total: int


def connection() -> str:
    return "open"


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    with fresh_registry():

        @step
        async def charge(
            order: Order, note: str = "", *, times: int = 1, database: str = Depends(connection)
        ) -> int:
            return order.total

        @step
        async def reserve(room: str) -> int:
            return len(room)

        @reserve.compensate
        async def release(room: str, result: int | None) -> None: ...

        @workflow
        async def double(value: int) -> int:
            return 2 * value

        yield


def call(**arguments: Any) -> dict[str, Any]:
    return {"id": "a", "type": "step", "config": {"step": "charge", "arguments": arguments}}


def findings_of(*nodes: dict[str, Any], complete: bool = False) -> list[Finding]:
    return validate_here(load_value({"name": "x", "nodes": list(nodes)}), complete=complete)


@pytest.mark.parametrize(
    "arguments",
    [
        {"order": {"total": 5}},
        {"order": {"total": "5"}, "times": 3},
        {"order": "{{ input }}", "times": "{{ input.times }}"},
        {"order": {"total": "{{ input.total }}"}},
    ],
)
def test_arguments_that_a_worker_would_take_are_right(arguments: dict[str, Any]) -> None:
    assert findings_of(call(**arguments)) == []


@pytest.mark.parametrize(
    ("arguments", "path", "said"),
    [
        ({}, "", "'a': step 'charge' misses the argument 'order'"),
        ({"order": "{{ input }}", "tims": 2}, ".arguments.tims", "has no parameter 'tims'. Did you mean 'times'?"),
        ({"order": "{{ input }}", "database": "x"}, ".arguments.database", "It takes order, note, times."),
        ({"order": {"total": "five"}}, ".arguments.order", "total"),
        ({"order": "{{ input }}", "times": None}, ".arguments.times", "'times'"),
    ],
)  # fmt: skip
def test_arguments_of_a_step_that_is_known_are_checked(
    arguments: dict[str, Any], path: str, said: str
) -> None:
    (finding,) = findings_of(call(**arguments))
    assert (finding.code, finding.node, finding.path) == ("HF-D031", "a", f"nodes[0].config{path}")
    assert said in f"{finding.message}. {finding.fix}"


def test_what_undoes_a_node_is_checked_too() -> None:
    undo = {"type": "step", "config": {"step": "charge", "arguments": {"ordr": "{{ a }}"}}}
    found = findings_of({"id": "a", "type": "fetcher", "compensate": undo})
    assert {one.path for one in found} == {
        "nodes[0].compensate.config",
        "nodes[0].compensate.config.arguments.ordr",
    }


def test_a_dag_is_checked_against_the_steps_that_it_is_given() -> None:
    @step
    async def add(value: int) -> int:
        return value + 1

    dag = Dag("x")
    dag.add_step(add, arguments={"value": "abc", "vlue": 1})
    with pytest.raises(InvalidInput, match=r"no parameter 'vlue'. Did you mean 'value'") as caught:
        dag.compile()
    assert len(caught.value.details["findings"]) == 2


def test_what_a_process_does_not_know_is_an_error_only_where_it_knows_everything() -> None:
    nodes: list[dict[str, Any]] = [
        {"id": "a", "type": "step", "config": {"step": "chrge"}},
        {"id": "b", "type": "htpp"},
        {"id": "c", "type": "workflow", "config": {"workflow": "dobule"}},
        {"id": "d", "type": "workflow", "config": {"workflow": "double", "input": 1}},
        {"id": "e", "type": "step", "config": {"step": "reserve.compensate"}},
    ]
    assert findings_of(*nodes) == []
    found = {one.node: (one.code, one.fix) for one in findings_of(*nodes, complete=True)}
    assert {node: code for node, (code, _) in found.items()} == {
        "a": "HF-D030",
        "b": "HF-D030",
        "c": "HF-D033",
    }
    for node, meant in {"a": "charge", "b": "http", "c": "double"}.items():
        assert f"Did you mean {meant!r}?" in found[node][1]
