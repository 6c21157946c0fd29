"""Rules about graphs: what each finds, at which level, and what it leaves alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.spec.conftest import random_dags

from holdfast.spec.audit import LEVELS, RULES, Level, audit_document, audit_spec
from holdfast.spec.document import dump_json, dump_yaml, load_value
from holdfast.spec.graph import Graph


def step(node_id: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": node_id,
        "type": "step",
        "config": {"step": "do"},
        "depends_on": list(depends_on),
        "timeout": 5,
        "compensate": {"type": "step", "config": {"step": "undo"}},
        **fields,
    }


def switch(node_id: str, *cases: tuple[str, str], **fields: Any) -> dict[str, Any]:
    written = [{"when": when, "to": to} for when, to in cases]
    default = {"default": fields.pop("default")} if "default" in fields else {}
    return {"id": node_id, "type": "switch", "config": {"cases": written, **default}, **fields}


def codes(nodes: list[Mapping[str, Any]], level: Level = "normal", **document: Any) -> dict[str | None, str]:
    """The audit's own findings by node, each as `code severity`; several are joined."""
    found: dict[str | None, str] = {}
    for finding in audit_spec(load_value({"name": "x", "nodes": nodes, **document}), level=level):
        if finding.code.startswith("HF-A"):
            before = f"{found[finding.node]}, " if finding.node in found else ""
            found[finding.node] = f"{before}{finding.code} {finding.severity}"
    return found


def ways(count: int) -> list[tuple[str, str]]:
    return [(f"input == {index}", f"way{index}") for index in range(count)]


@pytest.mark.parametrize("level", LEVELS)
def test_a_sound_dag_has_no_findings_at_any_level(level: Level) -> None:
    nodes = [
        step("fetch"),
        switch("choose", ("size(fetch) > 3", "big"), default="small", depends_on=["fetch"]),
        step("big"),
        step("small"),
        {"id": "ask", "type": "approval", "config": {"prompt": "?"}, "timeout": "2d", "depends_on": ["big"]},
        step("save", "ask", "small"),
    ]
    assert codes(nodes, level) == {}


def test_a_graph_of_cycles_has_no_start_and_no_end() -> None:
    assert codes([step("a", "b"), step("b", "a")]) == {None: "HF-A001 error, HF-A002 error"}
    assert codes([step("a", "missing")]) == {None: "HF-A001 error"}
    assert codes([step("a"), step("b", "a", "c"), step("c", "b")]) == {None: "HF-A002 error"}


def test_two_nodes_with_one_id_are_not_called_a_cycle() -> None:
    twins = [step("a"), step("a", "b"), step("b", "a")]
    assert codes(twins) == {}
    found = audit_spec(load_value({"name": "x", "nodes": twins}))
    assert {finding.code for finding in found} == {"HF-D004"}
    assert codes([step("a"), step("a", "gone")], edges=[{"from": "a", "to": "a"}]) == {}


def test_a_node_that_waits_for_itself_is_last() -> None:
    assert codes([step("a", "a")]) == {None: "HF-A001 error"}


def test_a_budget_that_asks_is_a_wait_that_only_the_runs_timeout_bounds() -> None:
    def found(level: Level = "pedantic", **options: Any) -> dict[str | None, str]:
        return codes([step("a")], level, options=options)

    assert found(budget={"max_calls": 3}) == {None: "HF-A014 warning"}
    assert found("paranoid", budget={"max_calls": 3}) == {}
    assert found(budget={"max_calls": 3, "when_exceeded": "fail"}) == {}
    assert found(budget={"max_calls": 3}, timeout="7d") == {}


def test_what_validate_finds_is_found_too() -> None:
    spec = load_value(
        {"name": "x", "nodes": [step("a", "a"), step("b", "gone")], "edges": [{"from": "a", "to": "q"}]}
    )
    assert [finding.code for finding in audit_spec(spec)].count("HF-D010") == 2
    assert "HF-D011" in [finding.code for finding in audit_spec(spec)]


def test_a_node_apart_is_found_from_strict_on_where_others_are_connected() -> None:
    nodes = [step("a"), step("b", "a"), step("apart")]
    assert codes(nodes) == {}
    assert codes(nodes, "strict") == {"apart": "HF-A004 warning"}
    assert codes([step("a"), step("b"), step("c")], "strict") == {}


@pytest.mark.parametrize(
    ("level", "error_from"), [("normal", 5), ("strict", 3), ("paranoid", 2), ("pedantic", 1)]
)
def test_a_switch_without_default_is_an_error_from_so_many_options_on(level: Level, error_from: int) -> None:
    for count in range(1, 6):
        nodes = [switch("s", *ways(count)), *(step(f"way{index}") for index in range(count))]
        expected = "error" if count >= error_from else "warning"
        assert codes(nodes, level) == {"s": f"HF-A005 {expected}"}


@pytest.mark.parametrize(
    ("level", "count"), [("normal", 20), ("strict", 12), ("paranoid", 8), ("pedantic", 6)]
)
def test_a_wide_switch_is_found_from_so_many_cases_on(level: Level, count: int) -> None:
    def found(size: int) -> dict[str | None, str]:
        nodes = [switch("s", *ways(size), default="other"), *(step(f"way{index}") for index in range(size))]
        return codes([*nodes, step("other")], level)

    assert found(count - 1) == {}
    assert found(count) == {"s": "HF-A006 warning"}


@pytest.mark.parametrize(
    ("cases", "never"),
    [
        ([("true", "a"), ("input > 1", "b")], {"b", "c"}),
        ([("input > 1", "a"), ("1 > 2", "b")], {"b"}),
        ([("input > 1", "a"), ("input  >  1", "b")], {"b"}),
        ([("input > 1", "a"), ("false", "a")], set[str]()),
    ],
)
def test_cases_that_never_hold_and_what_they_lead_to(cases: list[tuple[str, str]], never: set[str]) -> None:
    nodes = [switch("s", *cases, default="c"), step("a"), step("b"), step("c")]
    nodes += [step("after_b", "b"), step("joined", "a", "b")]
    found = codes(nodes, "strict")
    assert found.pop("s") == "HF-A007 error"
    expected = never | ({"after_b"} if "b" in never else set[str]())
    if "b" not in {target for _, target in cases}:
        expected -= {"b", "after_b"}
    assert found == dict.fromkeys(expected, "HF-A003 error")


def test_a_condition_that_is_never_true_takes_along_what_it_cascades_to() -> None:
    nodes = [step("a", when="1 == 2"), step("after", "a")]
    assert codes(nodes) == {"a": "HF-A003 warning"}
    nodes[0]["when_unmet"] = "skip_cascade"
    assert codes(nodes) == {"a": "HF-A003 warning", "after": "HF-A003 warning"}
    assert codes([step("a", when="false")]) == {}, "HF-D013 says it"


@pytest.mark.parametrize(
    "node",
    [
        {"type": "wait", "config": {"event": "go"}},
        {"type": "approval", "config": {"prompt": "?"}},
        {"type": "workflow", "config": {"workflow": "other"}},
    ],
)
def test_waits_need_a_timeout_of_their_own_or_of_the_run(node: dict[str, Any]) -> None:
    assert codes([{"id": "w", **node}]) == {"w": "HF-A008 warning"}
    assert codes([{"id": "w", **node}], "strict") == {"w": "HF-A008 error"}
    assert codes([{"id": "w", **node, "timeout": "1d"}], "strict") == {}
    assert codes([{"id": "w", **node}], "pedantic", options={"timeout": "7d"}) == {}


def test_a_step_without_a_timeout_is_found_from_paranoid_on() -> None:
    found = [codes([step("a", timeout=None)], level) for level in LEVELS]
    assert found == [{}, {}, {"a": "HF-A009 warning"}, {"a": "HF-A009 error"}]


def test_retries_without_end_are_found_unless_the_run_ends() -> None:
    assert codes([step("a", retry="forever")]) == {"a": "HF-A010 warning"}
    assert codes([step("a", retry={"max_attempts": 0})], "strict") == {"a": "HF-A010 error"}
    assert codes([step("a", retry="forever")], "strict", options={"timeout": "7d"}) == {}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"config": {"step": "do"}}, True),
        ({"config": {"step": "do", "arguments": {"idempotency_key": "{{ input }}"}}}, False),
        ({"config": {"step": "safe"}}, False),
        ({"type": "http", "config": {"url": "x", "method": "post"}}, True),
        (
            {"type": "http", "config": {"url": "x", "method": "POST", "headers": {"Idempotency-Key": "1"}}},
            False,
        ),
        ({"type": "http", "config": {"url": "x"}}, False),
        ({"type": "transform", "config": {}}, False),
        ({"type": "emit", "config": {"run": "x", "event": "y"}}, False),
        ({"type": "mail", "config": {}}, True),
    ],
)
def test_effects_are_undone_or_safe_to_repeat(fields: dict[str, Any], found: bool) -> None:
    node = {"id": "a", "type": "step", "timeout": 5, **fields}
    spec = load_value({"name": "x", "nodes": [node]})

    def severities(level: Level) -> list[str]:
        findings = audit_spec(spec, level=level, safe_steps={"safe"})
        return [finding.severity for finding in findings if finding.code == "HF-A011"]

    assert [severities(level) for level in LEVELS] == (
        [[], ["warning"], ["error"], ["error"]] if found else [[], [], [], []]
    )


def test_a_local_step_is_stated_to_be_idempotent() -> None:
    spec = load_value({"name": "x", "nodes": [step("a", local=True)]})
    assert [finding.code for finding in audit_spec(spec, level="strict")] == ["HF-A013"]
    assert audit_spec(spec, level="strict", safe_steps={"do"}) == []


def test_a_dependency_that_follows_from_others_is_redundant_unless_it_is_used() -> None:
    nodes = [step("a"), step("b", "a"), step("c", "a", "b")]
    assert codes(nodes) == {}
    assert codes(nodes, "strict") == {"c": "HF-A012 warning"}
    assert codes(nodes, "pedantic") == {"c": "HF-A012 error"}
    nodes[2]["when"] = "size(a) > 0"
    assert codes(nodes, "strict") == {}


@given(random_dags())
def test_removing_what_is_implied_changes_no_ancestors(document: dict[str, Any]) -> None:
    graph = Graph.of(load_value(document))
    reduced = Graph(
        {
            node: set(sources) - {source for source, _ in graph.implied.get(node, ())}
            for node, sources in graph.dependencies.items()
        }
    )
    assert {node: reduced.ancestors(node) for node in graph.ids} == {
        node: graph.ancestors(node) for node in graph.ids
    }
    assert reduced.implied == {}


@given(random_dags(), st.booleans())
def test_a_stricter_level_never_says_less(document: dict[str, Any], yaml: bool) -> None:
    spec = load_value(document)
    text = dump_yaml(spec) if yaml else dump_json(spec)
    found = [
        {(finding.code, finding.node) for finding in audit_document(text, yaml=yaml, level=level)}
        for level in LEVELS
    ]
    assert all(before <= after for before, after in itertools.pairwise(found))


@pytest.mark.parametrize("code", RULES)
def test_no_rule_is_milder_at_a_stricter_level(code: str) -> None:
    rank = {None: 0, "warning": 1, "error": 2}
    for count in (1, 2, 3, 5, 8, 12, 20, 30, 50, 100):
        ranks = [rank[grade.severity(count)] for grade in RULES[code].grades]
        assert ranks == sorted(ranks)


def test_findings_name_the_line_of_their_node() -> None:
    text = (
        "name: x\nnodes:\n  - {id: a, type: http, config: {}}\n  - {id: w, type: wait, config: {event: go}}\n"
    )
    assert [(finding.code, finding.line) for finding in audit_document(text, yaml=True)] == [("HF-A008", 4)]


def test_many_findings_of_a_kind_are_counted() -> None:
    nodes = [{"id": f"w{index}", "type": "wait", "config": {"event": "go"}} for index in range(250)]
    found = [
        finding
        for finding in audit_spec(load_value({"name": "x", "nodes": nodes}))
        if finding.code == "HF-A008"
    ]
    assert len(found) == 201
    assert "50 more" in found[-1].message


def test_a_graph_that_is_too_large_is_only_told_so() -> None:
    nodes = [{"id": f"w{index}", "type": "wait", "config": {"event": "go"}} for index in range(10_001)]
    assert [finding.code for finding in audit_spec(load_value({"name": "x", "nodes": nodes}))] == ["HF-D020"]


def test_a_local_executor_is_idempotent_by_contract() -> None:
    node = {"id": "a", "type": "transform", "config": {"template": 1}, "local": True}
    spec = load_value({"name": "x", "nodes": [node]})
    assert [finding.code for finding in audit_spec(spec, level="strict")] == []
