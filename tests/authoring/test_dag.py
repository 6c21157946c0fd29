"""A DAG in Python: three ways to write one document."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.spec.conftest import random_dags

from holdfast import InvalidInput, InvalidStep, InvalidWorkflow, RetryPolicy, step
from holdfast.authoring.dag import Dag
from holdfast.authoring.registry import fresh_registry, registry
from holdfast.spec.document import load_value, load_yaml
from holdfast.spec.graph import Graph
from holdfast.spec.model import LoopSpec, MapSpec

DOCUMENT = """
name: etl
nodes:
- {id: fetch, type: step, config: {step: etl.fetch, arguments: {input: '{{ input }}'}}, timeout: 30s}
- id: clean
  type: step
  config: {step: etl.clean, arguments: {fetch: '{{ fetch }}'}}
  when: size(fetch) > 0
  retry: patient
  depends_on: [fetch]
- id: enrich
  type: step
  config: {step: etl.enrich, arguments: {item: '{{ item }}', input: '{{ input }}'}}
  map: {over: clean, concurrency: 20}
- {id: notify, type: fetcher, config: {url: 'https://example.org/{{ size(enrich) }}'}}
edges:
- {from: clean, to: enrich}
- {from: enrich, to: notify}
"""


def decorated() -> Dag:
    etl = Dag("etl")

    @etl.step(timeout=timedelta(seconds=30))
    async def fetch(input: str) -> list[int]:
        return [len(input)]

    @etl.step(when="size(fetch) > 0", retry="patient")
    async def clean(fetch: list[int]) -> list[int]:
        return fetch

    @etl.map(over="clean", concurrency=20)
    async def enrich(item: int, input: str) -> int:
        return item + len(input)

    etl.node(
        "notify",
        executor="fetcher",
        config={"url": "https://example.org/{{ size(enrich) }}"},
        depends_on=[enrich],
    )
    return etl


def built() -> Dag:
    @step(name="etl.fetch")
    async def fetch(input: str) -> list[int]:
        return [len(input)]

    @step(name="etl.clean")
    async def clean(fetch: list[int]) -> list[int]:
        return fetch

    @step(name="etl.enrich")
    async def enrich(item: int, input: str) -> int:
        return item

    etl = Dag("etl")
    etl.node("notify", executor="fetcher", config={"url": "https://example.org/{{ size(enrich) }}"})
    etl.add_map(enrich, over="clean", concurrency=20)
    etl.add_step(clean, when="size(fetch) > 0", retry="patient")
    etl.add_step(fetch, timeout=timedelta(seconds=30))
    etl.add_edge("enrich", "notify")
    etl.add_edge(fetch, clean)
    return etl


def test_three_ways_give_equal_specs() -> None:
    with fresh_registry():
        by_decorators = decorated().compile()
    with fresh_registry():
        by_builder = built().compile()
    document = load_yaml(DOCUMENT)
    assert by_decorators == by_builder == document
    assert by_decorators.content_hash == document.content_hash


@settings(deadline=None)  # a loaded machine is no failure
@given(random_dags())
def test_any_document_can_be_built(document: dict[str, Any]) -> None:
    dag = Dag(document["name"], output=document.get("output"))
    for node in document["nodes"]:
        given = dict(node)
        node_id, kind, config = given.pop("id"), given.pop("type"), given.pop("config")
        for source in given.pop("depends_on", ()):
            dag.add_edge(source, node_id)
        retry = given.get("retry")
        if isinstance(retry, dict):
            given["retry"] = RetryPolicy(**given["retry"])
        if kind == "step":
            dag.add_step(config["step"], id=node_id, **given)
        else:
            dag.node(node_id, executor=kind, config=config, **given)
    assert dag.compile() == load_value(document)


@st.composite
def dependencies(draw: st.DrawFn) -> dict[str, list[str]]:
    """Nodes with what they depend on, in a random order."""
    names = [f"task_{number}" for number in range(draw(st.integers(1, 8)))]
    found = {
        name: draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else []
        for index, name in enumerate(names)
    }
    return dict(draw(st.permutations(list(found.items()))))


@settings(deadline=None)
@given(dependencies())
def test_any_graph_is_the_same_in_three_ways(sources: dict[str, list[str]]) -> None:
    def function(name: str) -> Any:
        scope: dict[str, Any] = {}
        parameters = ", ".join(f"{source}: int" for source in sources[name])
        exec(f"async def {name}({parameters}) -> int:\n    return 0", scope)
        return scope[name]

    with fresh_registry():
        by_decorators = Dag("etl")
        for name in sources:
            by_decorators.step(function(name))
        first = by_decorators.compile()
    with fresh_registry():
        by_builder = Dag("etl")
        for name in sources:
            by_builder.add_step(step(name=f"etl.{name}")(function(name)))
        second = by_builder.compile()
    nodes = [
        {
            "id": name,
            "type": "step",
            "config": {
                "step": f"etl.{name}",
                **({"arguments": {source: f"{{{{ {source} }}}}" for source in before}} if before else {}),
            },
        }
        for name, before in sources.items()
    ]
    edges = [{"from": source, "to": name} for name, before in sources.items() for source in before]
    third = load_value({"name": "etl", "nodes": nodes, "edges": edges})
    assert first == second == third
    assert Graph.of(first).order == Graph.of(third).order


async def test_a_declared_function_is_a_registered_step_and_still_a_function() -> None:
    with fresh_registry():
        etl = Dag("etl")

        @etl.step
        async def double(input: int) -> int:
            return 2 * input

        assert registry().step("etl.double") is double
        assert await double(4) == 8


def test_control_nodes() -> None:
    class Form(BaseModel):
        ok: bool

    with fresh_registry():
        dag = Dag(
            "order", input_schema=Form, variables={"limit": 10}, max_parallel=5, timeout=timedelta(hours=1)
        )
        dag.add_switch("large", {"input.total > variables.limit": "ask"}, default=["ship"])
        dag.add_approval("ask", "Ship it?", form=Form, timeout=timedelta(days=2))
        dag.add_wait("paid", "payment", depends_on=["ask"])
        dag.add_timer("rest", timedelta(minutes=5), depends_on=["paid"])
        dag.node(
            "ship",
            executor="fetcher",
            config={"url": "x"},
            compensate={"type": "fetcher", "config": {"url": "y"}},
        )
        dag.add_workflow("child", "other", input="{{ ship.id }}", map=MapSpec(over="3", concurrency=2))
        dag.node(
            "poll",
            executor="fetcher",
            loop=LoopSpec(while_="poll.more", max_iterations=3),
            depends_on=["child"],
        )
        spec = dag.compile()
    assert spec == load_yaml(
        """
name: order
input_schema: {title: Form, type: object, properties: {ok: {title: Ok, type: boolean}}, required: [ok]}
variables: {limit: 10}
options: {max_parallel: 5, timeout: PT1H}
nodes:
- {id: large, type: switch, config: {cases: [{when: input.total > variables.limit, to: [ask]}], default: [ship]}}
- id: ask
  type: approval
  timeout: 2d
  config:
    prompt: Ship it?
    form: {title: Form, type: object, properties: {ok: {title: Ok, type: boolean}}, required: [ok]}
- {id: paid, type: wait, config: {event: payment}, depends_on: [ask]}
- {id: rest, type: timer, config: {duration: 300.0}, depends_on: [paid]}
- {id: ship, type: fetcher, config: {url: x}, compensate: {type: fetcher, config: {url: y}}}
- id: child
  type: workflow
  config: {workflow: other, input: '{{ ship.id }}'}
  map: {over: '3', concurrency: 2}
  depends_on: [ship]
- {id: poll, type: fetcher, loop: {while: poll.more, max_iterations: 3}, depends_on: [child]}
"""
    )


def test_a_parameter_that_is_no_node_is_named() -> None:
    with fresh_registry():
        etl = Dag("etl")

        @etl.step
        async def clean(fetched: list[int], limit: int = 5) -> list[int]:
            return fetched[:limit]

        with pytest.raises(InvalidWorkflow, match=r"parameter 'fetched' is no node .* arguments=\{\.\.\.\}"):
            etl.compile()
        etl.add_step("fetch", id="fetched")
        assert etl.compile().by_id["clean"].config == {
            "step": "etl.clean",
            "arguments": {"fetched": "{{ fetched }}"},
        }


def test_a_step_of_another_dag_cannot_be_depended_on_by_reference() -> None:
    with fresh_registry():

        @step
        async def charge(amount: int) -> int:
            return amount

        dag = Dag("pay")
        dag.node("a", executor="fetcher", depends_on=[charge])
        with pytest.raises(InvalidWorkflow, match="is in no node"):
            dag.compile()
        dag.add_step(charge, arguments={"amount": 1})
        dag.add_step(charge, id="again", arguments={"amount": 2})
        with pytest.raises(InvalidWorkflow, match="is called by 2 nodes"):
            dag.compile()


def test_a_local_step_is_written_into_the_document() -> None:
    with fresh_registry():

        @step(local=True)
        def quick(input: int) -> int:
            return input

        dag = Dag("x")
        dag.add_step(quick)
        assert dag.compile().nodes[0].local is True


def test_a_cell_that_runs_again_replaces_its_node() -> None:
    with fresh_registry():
        etl = Dag("etl")
        for when in ("true", "false || true"):

            @etl.step(when=when)
            async def fetch(input: int) -> int:
                return input

        assert [node.when for node in etl.compile().nodes] == ["false || true"]


def test_compiling_finds_what_is_wrong() -> None:
    with fresh_registry():
        dag = Dag("x")
        dag.node("a", executor="fetcher", depends_on=["b"])
        dag.node("b", executor="fetcher", config={"x": "{{ a }}"})
        for _ in range(2):
            dag.node("c", executor="fetcher", when="size(")
        with pytest.raises(InvalidInput, match="a cycle: a -> b -> a") as caught:
            dag.compile()
        assert {f["code"] for f in caught.value.details["findings"]} == {"HF-D004", "HF-D012", "HF-D040"}
        other = Dag("y")
        other.add_edge("a", "zz")
        with pytest.raises(InvalidWorkflow, match="'zz' is no node"):
            other.compile()


def test_the_second_node_of_a_step_takes_an_id() -> None:
    with fresh_registry():

        @step
        async def charge(amount: int) -> int:
            return amount

        dag = Dag("pay")
        for amount in (1, 2):
            dag.add_step(charge, arguments={"amount": amount})
        with pytest.raises(
            InvalidInput, match=r"'charge' is the id of nodes\[0\] and of nodes\[1\].*with id="
        ) as caught:
            dag.compile()
    assert [found["code"] for found in caught.value.details["findings"]] == ["HF-D004"]


def test_one_dependency_needs_no_list() -> None:
    with fresh_registry():
        dag = Dag("x")

        @dag.step
        async def fetch(input: int) -> int:
            return input

        dag.node("by_id", executor="fetcher", depends_on="fetch")
        dag.node("by_step", executor="fetcher", depends_on=fetch)
        assert [node.depends_on for node in dag.compile().nodes] == [(), ("fetch",), ("fetch",)]


def test_what_is_no_step_workflow_or_schema_is_refused_where_it_is_given() -> None:
    class Plain:
        pass

    async def plain(input: int) -> int:
        return input

    wrong: Any = plain
    with fresh_registry():
        dag = Dag("x")
        with pytest.raises(InvalidStep, match=r"not .*plain \(.*test_dag.py:\d+\): decorate .* with @step"):
            dag.add_step(wrong)
        with pytest.raises(InvalidStep, match="a step or a step's name, not 5"):
            getattr(dag, "add_map")(5, over="3")  # noqa: B009 - a type checker would refuse it
        with pytest.raises(InvalidWorkflow, match=r"not .*plain \(.*@workflow"):
            dag.add_workflow("a", wrong)
        with pytest.raises(InvalidWorkflow, match=r"the schema of 'a': .*Plain.* has no JSON Schema"):
            dag.add_wait("a", "event", schema=Plain)
        with pytest.raises(InvalidWorkflow, match=r"the form of 'a': .*Plain"):
            dag.add_approval("a", "?", form=Plain)
        with pytest.raises(InvalidWorkflow, match=r"the input_schema of dag 'y': .*Plain"):
            Dag("y", input_schema=Plain)
        with pytest.raises(InvalidStep, match=r'@dag.map\(over="..."\)'):
            getattr(dag, "map")(plain)  # noqa: B009 - a type checker would refuse it
        assert repr(dag) == "<dag x: 0 nodes>"
