"""The document that a worker publishes: what others need to start its workflows and to check their DAGs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, GetPydanticSchema
from pydantic_core import core_schema

from holdfast import Depends, Workflow, step, workflow
from holdfast.authoring import offers as module
from holdfast.authoring.catalogue import entry_of
from holdfast.authoring.offers import hash_of, offers
from holdfast.authoring.registry import fresh_registry, registry
from holdfast.spec.check_config import compile_schema
from holdfast.triggers import Cron


class Order(BaseModel):
    id: str
    parent: Order | None = None


@dataclass
class Other:
    order: Order


Odd = Annotated[
    int,
    GetPydanticSchema(
        lambda _source, _handler: core_schema.no_info_plain_validator_function(lambda value: value)
    ),
]


def published(*workflows: Workflow[..., Any], queues: tuple[str, ...] = ("default",)) -> dict[str, Any]:
    return offers(workflows, registry().steps().values(), [], queues=queues)


def test_workflows_and_steps_are_told_with_schemas_and_options() -> None:
    with fresh_registry():

        def provider() -> int:
            return 1

        @step(timeout=timedelta(seconds=7), aliases=["bill"])
        async def charge(order: Order, times: int = 2, secret: int = Depends(provider)) -> Other:
            """Take the money.

            And more."""
            return Other(order)

        @step(queue="gpu")
        async def render() -> None: ...

        @render.compensate
        async def wipe(result: None) -> None: ...

        @workflow(triggers=[Cron("0 9 * * *")])
        async def fulfil(order: Order, others: list[Order]) -> Other:
            return await charge(order)

        found = published(fulfil)
        assert [one["name"] for one in found["steps"]] == ["charge"], (
            "once, and only of queues that are polled"
        )
        _, gpu = published(queues=("gpu",))["steps"]
        assert (gpu["name"], gpu["compensation"]) == ("render", "render.compensate")
        [told] = found["steps"]
        assert (told["description"], told["aliases"]) == ("Take the money.", ["bill"])
        assert told["options"]["timeout"] == 7
        assert list(told["input_schema"]["properties"]) == ["order", "times"], "no dependencies"
        problems = compile_schema(told["input_schema"])
        assert not problems({"order": {"id": "1", "parent": {"id": "2"}}})
        assert problems({"order": {"id": 1}})
        assert problems({"order": {"id": "1"}, "time": 1})
        assert told["input_schema"]["properties"]["times"]["default"] == 2
        assert not compile_schema(told["output_schema"])({"order": {"id": "1"}})
        [run] = found["workflows"]
        assert run["triggers"] == [{"name": "fulfil", "kind": "cron", "on": "cron 0 9 * * * UTC"}]
        assert run["options"]["queue"] == "default"
        assert run["input_schema"]["required"] == ["order", "others"]
        assert hash_of(found) == hash_of(json.loads(json.dumps(found)))


def test_a_type_without_a_schema_costs_only_its_own() -> None:
    with fresh_registry():

        @step
        async def odd(fine: int, call: Odd) -> Odd:
            return call

        [told] = published()["steps"]
        assert told["input_schema"]["properties"]["fine"] == {"type": "integer"}
        assert not compile_schema(told["input_schema"])({"fine": 1, "call": "anything"})
        assert told["output_schema"] == {}


def test_executors_are_told_with_their_configs() -> None:
    executors = pytest.importorskip("holdfast_executors.merge")
    [told] = offers([], [], [entry_of(executors.Merge)], queues=["default"])["executors"]
    assert told["name"] == "merge"
    assert told["input_schema"]["properties"]
    assert told["options"]["timeout"]


def test_a_document_stays_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def declare(name: str) -> Callable[..., Any]:
        @step(name=name)
        async def some(order: Order) -> Order:
            return order

        some.fn.__qualname__ = name
        return some

    with fresh_registry():
        for name in ("quote'\"", "nul\0", "😀\ud800", *(f"s{n:03}" for n in range(60))):
            declare(name)
        whole = published()
        assert len(whole["steps"]) == 63
        monkeypatch.setattr(module, "MAX_BYTES", 30_000)
        without = published()
        assert len(without["steps"]) == 63
        assert {one["input_schema"] for one in without["steps"]} == {None}, "names before schemas"
        monkeypatch.setattr(module, "MAX_BYTES", 8_000)
        cut = published()
        assert 0 < len(cut["steps"]) < 63
        assert len(json.dumps(cut)) < 9_000
