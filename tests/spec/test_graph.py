"""Orders, cycles, ancestors and longest paths."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.spec.conftest import random_dags

from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec

NAMES = [f"n{i}" for i in range(9)]
ANY_GRAPH = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4), max_size=9)


def reachable(graph: Graph, node: str) -> set[str]:
    found: set[str] = set()
    todo = [node]
    while todo:
        for source in graph.dependencies[todo.pop()]:
            if source not in found:
                found.add(source)
                todo.append(source)
    return found


@given(random_dags())
def test_the_order_respects_every_edge(document: dict[str, Any]) -> None:
    graph = Graph.of(DagSpec.model_validate(document))
    assert graph.is_acyclic
    assert sorted(graph.order) == sorted(graph.ids)
    for node, sources in graph.dependencies.items():
        for source in sources:
            assert graph.order.index(source) < graph.order.index(node)
            assert node in graph.dependents[source]
    assert graph.edge_count == sum(map(len, graph.dependents.values()))


@given(random_dags())
def test_ancestors_are_all_that_can_be_reached(document: dict[str, Any]) -> None:
    graph = Graph.of(DagSpec.model_validate(document))
    for node in graph.ids:
        expected = reachable(graph, node)
        assert graph.ancestors(node) == expected
        assert {other for other in graph.ids if graph.is_ancestor(other, node)} == expected
        assert all(node in graph.descendants([other]) for other in expected)


@given(ANY_GRAPH)
def test_cycles_are_found_and_real(dependencies: dict[str, list[str]]) -> None:
    graph = Graph(dependencies)
    on_cycle = {node for node in graph.ids if node in reachable(graph, node)}
    assert set().union(*graph.knots()) == on_cycle
    assert graph.is_acyclic == (not on_cycle)
    for cycle, knot in zip(graph.cycles(), graph.knots(), strict=True):
        assert cycle[0] == cycle[-1]
        assert set(cycle) <= knot
        assert len(set(cycle)) == len(cycle) - 1
        for before, after in pairwise(cycle):
            assert before in graph.dependencies[after]


def test_a_long_cycle_needs_no_recursion() -> None:
    count = 20_000
    graph = Graph({f"n{i}": [f"n{(i + 1) % count}"] for i in range(count)})
    (cycle,) = graph.cycles()
    assert len(cycle) == count + 1


@given(random_dags(), st.data())
def test_no_path_is_longer_than_the_critical_one(document: dict[str, Any], data: st.DataObject) -> None:
    graph = Graph.of(DagSpec.model_validate(document))
    durations = {node: data.draw(st.integers(0, 9)) * 1.0 for node in graph.ids}
    path = graph.critical_path(durations)
    assert path.length == sum(durations[node] for node in path.nodes)
    for before, after in pairwise(path.nodes):
        assert before in graph.dependencies[after]
    finish: dict[str, float] = {}
    for node in graph.order:
        finish[node] = durations[node] + max((finish[s] for s in graph.dependencies[node]), default=0)
    assert path.length == max(finish.values())
    assert max(graph.remaining(durations).values()) == path.length


def test_roots_leaves_and_depth() -> None:
    graph = Graph({"a": [], "b": ["a"], "c": ["a", "zz"], "d": ["b", "c"], "e": ["e"]})
    assert graph.roots == ("a", "e")
    assert graph.leaves == ("d", "e")
    assert graph.depth == 3
    assert Graph({}).critical_path({}) == (0.0, ())
    assert Graph({}).depth == 0
