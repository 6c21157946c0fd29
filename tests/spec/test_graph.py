"""Orders, cycles, ancestors and longest ways."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
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


@settings(deadline=None)
@given(random_dags())
def test_the_order_respects_every_edge(document: dict[str, Any]) -> None:
    graph = Graph.of(DagSpec.model_validate(document))
    assert sorted(graph.order) == sorted(graph.ids)
    for node, sources in graph.dependencies.items():
        for source in sources:
            assert graph.order.index(source) < graph.order.index(node)
            assert node in graph.dependents[source]
    assert sum(map(len, graph.dependencies.values())) == sum(map(len, graph.dependents.values()))


@settings(deadline=None)
@given(random_dags())
def test_ancestors_are_all_that_can_be_reached(document: dict[str, Any]) -> None:
    graph = Graph.of(DagSpec.model_validate(document))
    for node in graph.ids:
        expected = reachable(graph, node)
        assert graph.ancestors(node) == expected
        assert {other for other in graph.ids if graph.is_ancestor(other, node)} == expected
        assert all(node in graph.descendants([other]) for other in expected)


@settings(deadline=None)
@given(ANY_GRAPH)
def test_cycles_are_found_and_real(dependencies: dict[str, list[str]]) -> None:
    graph = Graph(dependencies)
    on_cycle = {node for node in graph.ids if node in reachable(graph, node)}
    assert set().union(*graph.knots()) == on_cycle
    assert (len(graph.order) == len(graph.ids)) == (not on_cycle)
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


@settings(deadline=None)
@given(random_dags(), st.data())
def test_what_remains_is_the_longest_way_to_the_end(document: dict[str, Any], data: st.DataObject) -> None:
    graph = Graph.of(DagSpec.model_validate(document))
    durations = {node: data.draw(st.integers(0, 9)) * 1.0 for node in graph.ids}
    remaining = graph.remaining(durations)
    for node in graph.ids:
        after = [remaining[other] for other in graph.dependents[node]]
        assert remaining[node] == durations[node] + max(after, default=0)
    finish: dict[str, float] = {}
    for node in graph.order:
        finish[node] = durations[node] + max((finish[s] for s in graph.dependencies[node]), default=0)
    assert max(remaining.values()) == max(finish.values())


def test_leaves_and_depth() -> None:
    graph = Graph({"a": [], "b": ["a"], "c": ["a", "zz"], "d": ["b", "c"], "e": ["e"]})
    assert graph.leaves == ("d", "e")
    assert graph.depth == 3
    assert Graph({}).remaining({}) == {}
    assert Graph({}).depth == 0
