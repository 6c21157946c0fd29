"""A DAG written with decorators, with the builder, or as a document is the same DAG."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import RetryPolicy, step
from holdfast.authoring.dag import Dag
from holdfast.authoring.registry import fresh_registry
from holdfast.spec.document import dump_yaml, load_json, load_yaml

OPTIONS: dict[str, tuple[Any, Any]] = {
    "when": ("input.go", "input.go"),
    "when_unmet": ("skip_cascade", "skip_cascade"),
    "when_exhausted": ("skip", "skip"),
    "name": ("A title", "A title"),
    "timeout": (timedelta(seconds=90), "1m30s"),
    "retry": (RetryPolicy(max_attempts=7), {"max_attempts": 7}),
    "local": (True, True),
}
"""Options of nodes: as they are written in Python, and as they are in documents."""


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Nodes: what each takes as a parameter, what it only waits for, its options, and what it maps over."""
    nodes: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 8))):
        before = [node["id"] for node in nodes]
        some = st.lists(st.sampled_from(before), unique=True, max_size=3) if before else st.just([])
        takes = draw(some)
        nodes.append(
            {
                "id": f"n{number}",
                "takes": takes,
                "waits": [one for one in draw(some) if one not in takes],
                "options": draw(st.lists(st.sampled_from(sorted(OPTIONS)), unique=True, max_size=3)),
                "over": draw(st.sampled_from([None, None, *before])),
            }
        )
    return nodes


def function(node: dict[str, Any]) -> Any:
    """An async function with the node's parameters."""
    parameters = [*node["takes"], *(["item"] if node["over"] else []), "input"]
    found: dict[str, Any] = {"__name__": __name__}
    listed = ", ".join(f"{name}: int" for name in parameters)
    exec(f"async def {node['id']}({listed}) -> int: return 0", found)
    return found[node["id"]]


def in_python(node: dict[str, Any]) -> dict[str, Any]:
    return {name: OPTIONS[name][0] for name in node["options"]}


def with_decorators(nodes: list[dict[str, Any]]) -> Dag:
    dag = Dag("ways", output=nodes[-1]["id"])
    declared: dict[str, Any] = {}
    for node in nodes:
        options = in_python(node) | {"depends_on": [declared[one] for one in node["waits"]]}
        decorate = (
            dag.map(over=node["over"], concurrency=7, **options) if node["over"] else dag.step(**options)
        )
        declared[node["id"]] = decorate(function(node))
    return dag


def with_the_builder(nodes: list[dict[str, Any]]) -> Dag:
    dag = Dag("ways", output=nodes[-1]["id"])
    for node in reversed(nodes):
        called = step(name=f"ways.{node['id']}")(function(node))
        options = in_python(node) | {"id": node["id"]}
        if node["over"]:
            dag.add_map(called, over=node["over"], concurrency=7, **options)
        else:
            dag.add_step(called, **options)
    for node in nodes:
        for one in node["waits"]:
            dag.add_edge(one, node["id"])
    return dag


def as_a_document(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    written: list[dict[str, Any]] = []
    for node in nodes:
        named = [*node["takes"], *(["item"] if node["over"] else []), "input"]
        arguments = {name: f"{{{{ {name} }}}}" for name in named}
        document = {
            "id": node["id"],
            "type": "step",
            "config": {"step": f"ways.{node['id']}", "arguments": arguments},
            "depends_on": [*node["waits"], *node["takes"], *([node["over"]] if node["over"] else [])],
        }
        document |= {name: OPTIONS[name][1] for name in node["options"]}
        if node["over"]:
            document["map"] = {"over": node["over"], "concurrency": 7}
        written.append(document)
    return {"name": "ways", "nodes": written, "output": nodes[-1]["id"]}


@settings(deadline=None, max_examples=30)
@given(graphs())
def test_decorators_the_builder_and_documents_give_equal_specs(nodes: list[dict[str, Any]]) -> None:
    with fresh_registry():
        decorated = with_decorators(nodes).compile()
    with fresh_registry():
        built = with_the_builder(nodes).compile()
    read = load_json(json.dumps(as_a_document(nodes)))
    assert decorated == built == read == load_yaml(dump_yaml(built))
    assert decorated.content_hash == built.content_hash == read.content_hash
    assert decorated.canonical() == built.canonical() == read.canonical()
