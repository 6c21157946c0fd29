"""Every kind of finding, all at once; valid documents have none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.spec.conftest import random_dags

from holdfast.errors import InvalidInput
from holdfast.spec.check_names import skeleton
from holdfast.spec.document import load_yaml
from holdfast.spec.finding import CODES, MAX_PER_CODE, Finding
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec
from holdfast.spec.validate import ensure_valid, validate

CATALOGUE: dict[str, dict[str, Any]] = {
    "http": {
        "type": "object",
        "properties": {
            "url": {"type": "string", "format": "uri"},
            "count": {"type": "integer"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        },
        "additionalProperties": False,
    },
}


def findings_of(nodes: str, **options: Any) -> list[Finding]:
    """The findings of a document with these nodes in YAML."""
    return validate(load_yaml(f"name: etl\nnodes:\n{nodes}"), **options)


def codes_of(nodes: str, **options: Any) -> list[tuple[str, str | None]]:
    return [(finding.code, finding.node) for finding in findings_of(nodes, **options)]


@settings(deadline=None)
@given(random_dags())
def test_a_valid_document_has_no_findings(document: dict[str, Any]) -> None:
    assert [f for f in validate(DagSpec.model_validate(document)) if f.code != "HF-D005"] == []


@settings(deadline=None)
@given(random_dags(), st.data())
def test_a_mutated_document_is_refused_or_equivalent(document: dict[str, Any], data: st.DataObject) -> None:
    before = Graph.of(DagSpec.model_validate(document))
    nodes = document["nodes"]
    node = data.draw(st.sampled_from(nodes))
    other = data.draw(st.sampled_from([*(n["id"] for n in nodes), "missing"]))
    node["depends_on"] = [*node.get("depends_on", ()), other]
    spec = DagSpec.model_validate(document)
    errors = [finding for finding in validate(spec) if finding.severity == "error"]
    breaks = other == "missing" or other == node["id"] or before.is_ancestor(node["id"], other)
    assert bool(errors) == breaks
    if not errors:
        order = Graph.of(spec).order
        assert len(order) == len(nodes)
        assert order.index(other) < order.index(node["id"])


def test_all_findings_come_at_once() -> None:
    codes = {
        code
        for code, _ in codes_of(
            """
- {id: a, type: http, depends_on: [c], config: {url: '{{ x', zz: 1}}
- {id: b, type: http, depends_on: [a, b, zz]}
- {id: c, type: htp, depends_on: [b]}
- {id: C, type: http, when: secrets.x}
- {id: map, type: http}
- {id: e-f, type: http, when: nobody > 1}
- {id: g, type: switch, retry: none, config: {cases: [{when: 'true', to: h}]}}
- {id: h, type: workflow, config: {workflow: etl}}
- {id: h, type: http}
- {id: i, type: http, when: h.x}
""",
            catalogue=CATALOGUE,
        )
    }
    assert codes == {
        "HF-D002", "HF-D003", "HF-D004", "HF-D005", "HF-D010", "HF-D011", "HF-D012", "HF-D023", "HF-D030",
        "HF-D031", "HF-D032", "HF-D040", "HF-D041", "HF-D042", "HF-D043",
    }  # fmt: skip


def test_two_approvals_have_two_names() -> None:
    document = "- {id: a, type: approval, config: {prompt: A, name: n}}\n"
    document += "- {id: n, type: approval, config: {prompt: B%s}}"
    assert codes_of(document % "") == [("HF-D007", "n")]
    assert codes_of(document % ", name: m") == []


@pytest.mark.parametrize("node_id", ["a-b", "1a", "a b", "é", "a.b", "x" * 65, "a\n"])
def test_an_id_is_an_identifier(node_id: str) -> None:
    spec = DagSpec.model_validate({"name": "x", "nodes": [{"id": node_id, "type": "http"}]})
    (finding,) = validate(spec)
    assert (finding.code, finding.path) == ("HF-D002", "nodes[0].id")
    suggested = finding.fix.split("'")[1]
    assert validate(DagSpec.model_validate({"name": "x", "nodes": [{"id": suggested, "type": "http"}]})) == []


@pytest.mark.parametrize(
    "node_id", ["input", "item", "secrets", "in", "null", "string", "while", "variables"]
)
def test_reserved_words_are_no_ids(node_id: str) -> None:
    assert codes_of(f"- {{id: {node_id!r}, type: http}}") == [("HF-D003", node_id)]


@pytest.mark.parametrize(
    ("one", "other"), [("fetch", "Fetch"), ("node1", "nodel"), ("n0", "no"), ("warn", "wam"), ("a_b", "ab")]
)
def test_ids_that_look_alike_are_named(one: str, other: str) -> None:
    (finding,) = findings_of(f"- {{id: {one}, type: http}}\n- {{id: {other}, type: http}}")
    assert (finding.code, finding.severity) == ("HF-D005", "warning")
    assert one in finding.message
    assert other in finding.message


def test_letters_of_other_scripts_look_like_latin_ones() -> None:
    assert skeleton("р\u0430y") == skeleton("pay") == skeleton("\uff50ay")  # noqa: RUF001


def test_a_cycle_is_named_in_the_order_of_running() -> None:
    (finding,) = findings_of(
        "- {id: a, type: http, depends_on: [c]}\n- {id: b, type: http, depends_on: [a]}\n"
        "- {id: c, type: http, depends_on: [b]}"
    )
    assert finding.code == "HF-D012"
    assert "a -> b -> c -> a" in finding.message


def test_a_node_behind_a_cycle_can_never_start() -> None:
    found = codes_of(
        "- {id: a, type: http, depends_on: [b]}\n- {id: b, type: http, depends_on: [a]}\n"
        "- {id: c, type: http, depends_on: [b]}\n- {id: d, type: http, when: 'false'}\n"
        "- {id: e, type: http, depends_on: [zz]}\n- {id: f, type: http, depends_on: [e]}"
    )
    assert ("HF-D012", "a") in found
    assert [node for code, node in found if code == "HF-D013"] == ["c", "d", "f"]


def test_a_dangling_edge_names_its_place_and_what_was_meant() -> None:
    spec = load_yaml("name: x\nnodes: [{id: fetch, type: http}]\nedges: [{from: fetsh, to: fetch}]")
    (finding,) = validate(spec)
    assert (finding.code, finding.path) == ("HF-D010", "edges[0].from")
    assert "Did you mean 'fetch'?" in finding.fix


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        ("{url: 5}", ["nodes[0].config.url"]),
        ("{url: x, tags: [a, c, 5]}", ["nodes[0].config.tags[1]", "nodes[0].config.tags[2]"]),
        ("{count: x, other: 1}", ["nodes[0].config", "nodes[0].config.count"]),
        ("{count: '{{ input.count }}', tags: '{{ input.tags }}'}", []),
        ("{tags: ['{{ input.tag }}']}", []),
        ("{url: 'https://{{ input.host }}/'}", []),
        ("{'{{ input.x }}': 1}", ["nodes[0].config"]),
    ],
)
def test_a_config_fits_the_schema_of_its_executor(config: str, paths: list[str]) -> None:
    found = findings_of(f"- {{id: a, type: http, config: {config}}}", catalogue=CATALOGUE)
    assert sorted(finding.path for finding in found) == paths
    assert {finding.code for finding in found} <= {"HF-D031"}


@pytest.mark.parametrize(
    ("node", "path", "said"),
    [
        ("{id: a, type: h, when: \"'text'\"}", "when", "is text; a condition is true or false"),
        ("{id: a, type: h, when: '1 / 0 > 1'}", "when", "divides by zero"),
        ("{id: a, type: h, map: {over: \"'abc'\"}}", "map.over", "is text; a map runs over a list or a count"),
        ("{id: a, type: h, map: {over: '2.5'}}", "map.over", "the number 2.5"),
        ("{id: a, type: h, map: {over: '0 - 1'}}", "map.over", "a count is zero or more"),
        ("{id: a, type: h, map: {over: '1000001'}}", "map.over", "at most 1,000,000"),
        ("{id: a, type: h, loop: {while: '5', max_iterations: 2}}", "loop.while", "true or false"),
        ("{id: a, type: switch, config: {cases: [{when: '[]', to: b}]}}", "config.cases[0].when", "a list"),
        ("{id: a, type: timer, config: {duration: soon}}", "config.duration", "'soon' is no duration"),
        ("{id: a, type: timer, config: {until: soon}}", "config.until", "no time in ISO 8601"),
        ("{id: a, type: step, config: {step: s, heartbeat: often}}", "config.heartbeat", "'often' is no duration"),
    ],
)  # fmt: skip
def test_a_constant_that_will_always_fail_is_found(node: str, path: str, said: str) -> None:
    (finding,) = findings_of(f"- {node}\n- {{id: b, type: h}}")
    assert (finding.code, finding.node, finding.path) == ("HF-D045", "a", f"nodes[0].{path}")
    assert said in finding.message


@pytest.mark.parametrize(
    "node",
    [
        "{id: a, type: h, when: '1 < 2', map: {over: '1000000'}}",
        "{id: a, type: h, map: {over: '[1, 2].map(x, x * 2)'}}",
        "{id: a, type: h, map: {over: input}, when: input}",
        "{id: a, type: timer, config: {duration: '{{ input }}'}}",
        "{id: a, type: timer, config: {until: '2030-01-31T08:00:00Z'}}",
        "{id: a, type: timer, config: {duration: 1.5}}",
        "{id: a, type: step, config: {step: s, heartbeat: null}}",
    ],
)
def test_what_may_work_is_left_alone(node: str) -> None:
    assert findings_of(f"- {node}") == []


def test_a_field_that_does_not_exist_is_told_with_those_that_do() -> None:
    catalogue: dict[str, dict[str, Any]] = {
        "http": {
            "properties": {"url": {"type": "string"}, "auth": {"$ref": "#/$defs/Auth"}},
            "additionalProperties": False,
            "$defs": {"Auth": {"properties": {"user": {}, "token": {}}, "additionalProperties": False}},
        }
    }
    outer, inner = findings_of(
        "- {id: a, type: http, config: {ulr: x, auth: {tokn: x}}}", catalogue=catalogue
    )[::-1]
    assert (
        outer.message == "'a': the config: there is no field 'ulr'. Did you mean 'url'? There is: url, auth"
    )
    assert "auth: there is no field 'tokn'. Did you mean 'token'? There is: user, token" in inner.message
    assert "`holdfast executors show http`" in outer.fix
    (timer,) = findings_of("- {id: a, type: timer, config: {duration: 1s, until: '{{ input }}'}}")
    assert "it takes one of duration, until, and has duration, until" in timer.message
    assert "executors show" not in timer.fix


def test_a_schema_that_refers_to_the_network_is_not_fetched() -> None:
    catalogue = {"http": {"$ref": "http://127.0.0.1:9/schema.json"}}
    assert codes_of("- {id: a, type: http}", catalogue=catalogue) == [("HF-D044", "a")]
    spec = DagSpec.model_validate(
        {"name": "x", "nodes": [{"id": "a", "type": "h"}], "input_schema": {"type": "nope"}}
    )
    assert [finding.path for finding in validate(spec)] == ["input_schema"]


def test_a_pattern_of_a_schema_takes_linear_time() -> None:
    catalogue = {"http": {"properties": {"x": {"pattern": "^(a+)+$"}}}}
    node = {"id": "a", "type": "http", "config": {"x": "a" * 5000 + "!"}}
    found = validate(DagSpec.model_validate({"name": "x", "nodes": [node]}), catalogue=catalogue)
    assert [finding.code for finding in found] == ["HF-D031"]


def test_steps_and_their_arguments_are_checked_against_the_catalogue() -> None:
    schema = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}
    nodes = "- {id: a, type: step, config: {step: %s, arguments: {%s}}}"
    steps = {"charge": schema, "plain": None}
    assert codes_of(nodes % ("charge", "order: 1"), steps=steps) == []
    assert codes_of(nodes % ("charge", "order: '{{ input }}'"), steps=steps) == []
    assert codes_of(nodes % ("plain", "x: 1"), steps=steps) == []
    assert codes_of(nodes % ("charge", ""), steps=steps) == [("HF-D031", "a")]
    assert codes_of(nodes % ("chrage", ""), steps=steps) == [("HF-D030", "a")]


@pytest.mark.parametrize(
    "node",
    [
        "{id: a, type: switch, config: {cases: []}}",
        "{id: a, type: switch, config: {cases: [{when: 'true'}]}}",
        "{id: a, type: wait, config: {}}",
        "{id: a, type: approval, config: {prompt: ''}}",
        "{id: a, type: timer, config: {}}",
        "{id: a, type: timer, config: {duration: 5s, until: '2030-01-01'}}",
        "{id: a, type: workflow, config: {name: x}}",
        "{id: a, type: step, config: {}}",
    ],
)
def test_control_types_have_schemas_too(node: str) -> None:
    assert {code for code, _ in codes_of(f"- {node}")} == {"HF-D031"}


@pytest.mark.parametrize(
    "node",
    [
        "{id: a, type: timer, config: {duration: 5s}, retry: none}",
        "{id: a, type: wait, config: {event: x}, map: {over: input}}",
        "{id: a, type: workflow, config: {workflow: x}, local: true}",
        "{id: a, type: http, map: {over: input}, loop: {while: 'true', max_iterations: 3}}",
    ],
)
def test_options_without_a_meaning_are_refused(node: str) -> None:
    assert [code for code, _ in codes_of(f"- {node}")] == ["HF-D032"]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("- {id: a, type: h}\n- {id: b, type: h, depends_on: [a], when: a.x > 1}", []),
        ("- {id: a, type: h}\n- {id: b, type: h, when: a.x > 1}", ["HF-D042"]),
        ("- {id: a, type: h, when: a.x > 1}", ["HF-D042"]),
        ("- {id: a, type: h, when: item > 1, map: {over: input}}", ["HF-D041"]),
        ("- {id: a, type: h, config: {x: '{{ item }} {{ index }}'}, map: {over: input}}", []),
        ("- {id: a, type: h, config: {x: '{{ row }}'}, map: {over: input, item_name: row}}", []),
        ("- {id: a, type: h, config: {x: '{{ item }}'}, map: {over: input, item_name: row}}", ["HF-D041"]),
        ("- {id: a, type: h, config: {x: '{{ item }}'}}", ["HF-D041"]),
        ("- {id: a, type: h, loop: {while: a.more && iteration < 5, max_iterations: 9}}", []),
        ("- {id: a, type: h, config: {x: '{{ secrets.KEY }}'}}", []),
        ("- {id: a, type: wait, config: {event: '{{ secrets.KEY }}'}}", ["HF-D043"]),
        ("- {id: a, type: step, config: {step: s, arguments: {key: '{{ secrets.KEY }}'}}}", ["HF-D043"]),
        ("- {id: a, type: h, map: {over: secrets.LIST}}", ["HF-D043"]),
        ("- {id: a, type: h, loop: {while: secrets.X, max_iterations: 2}}", ["HF-D043"]),
        (
            "- {id: a, type: switch, config: {cases: [{when: secrets.X == 'a', to: b}]}}\n- {id: b, type: h}",
            ["HF-D043"],
        ),
        ("- {id: a, type: h, compensate: {type: h, config: {x: '{{ a.id }} {{ secrets.K }}'}}}", []),
        ("- {id: a, type: h, config: {x: 'a {{ '}}", ["HF-D040"]),
        ("- {id: a, type: h, config: {x: 'a { b } }}'}}", []),
        ("- {id: a, type: h, when: 'input.rows.all(r, r.ok)'}", []),
        ("- {id: a, type: h, when: 'size('}", ["HF-D040"]),
    ],
)
def test_an_expression_names_only_what_is_there(nodes: str, expected: list[str]) -> None:
    assert [code for code, _ in codes_of(nodes)] == expected


def test_the_output_may_name_every_node() -> None:
    document = "name: x\nnodes: [{id: a, type: h}, {id: b, type: h}]\noutput: '%s'"
    assert validate(load_yaml(document % "[a, b, input, variables]")) == []
    assert [f.code for f in validate(load_yaml(document % "[a, c]"))] == ["HF-D041"]
    assert [f.code for f in validate(load_yaml(document % "secrets.A"))] == ["HF-D043"]


def workflow_of(name: str, *children: str) -> DagSpec:
    nodes = [{"id": f"n{i}", "type": "workflow", "config": {"workflow": c}} for i, c in enumerate(children)]
    return DagSpec.model_validate({"name": name, "nodes": nodes or [{"id": "a", "type": "http"}]})


def test_a_workflow_does_not_start_itself_through_others() -> None:
    known = {"b": workflow_of("b", "c", "d"), "c": workflow_of("c", "a"), "d": None}
    (finding,) = validate(workflow_of("a", "b"), workflows=known)
    assert finding.code == "HF-D023"
    assert "a -> b -> c -> a" in finding.message
    assert [f.code for f in validate(workflow_of("a", "a"))] == ["HF-D023"]


def test_sub_workflows_exist_and_are_not_nested_too_deep() -> None:
    known: dict[str, DagSpec | None] = {f"w{i}": workflow_of(f"w{i}", f"w{i + 1}") for i in range(11)} | {
        "w11": None
    }
    assert [f.code for f in validate(workflow_of("top", "w0"), workflows=known)] == ["HF-D022"]
    assert validate(workflow_of("top", "w2"), workflows=known) == []
    (finding,) = validate(workflow_of("top", "w99"), workflows=known)
    assert (finding.code, finding.path) == ("HF-D033", "nodes[0].config.workflow")
    assert validate(workflow_of("top", "anything")) == []


def test_the_number_of_nodes_and_the_length_of_chains_are_capped() -> None:
    nodes: list[dict[str, Any]] = [{"id": f"n{i}", "type": "http"} for i in range(10_001)]
    assert [f.code for f in validate(DagSpec.model_validate({"name": "x", "nodes": nodes}))] == ["HF-D020"]
    for index in range(1, 6000):
        nodes[index]["depends_on"] = [f"n{index - 1}"]
    spec = DagSpec.model_validate({"name": "x", "nodes": nodes[:10_000]})
    assert [f.code for f in validate(spec) if f.severity == "error"] == ["HF-D021"]


def test_very_many_findings_of_one_kind_are_counted() -> None:
    nodes = [{"id": f"n{i}", "type": "http", "depends_on": ["zz"]} for i in range(1000)]
    found = [
        f for f in validate(DagSpec.model_validate({"name": "x", "nodes": nodes})) if f.code == "HF-D010"
    ]
    assert len(found) == MAX_PER_CODE + 1
    assert found[-1].message.startswith("800 more")


def test_an_empty_document_and_an_invalid_one_are_refused_with_their_findings() -> None:
    with pytest.raises(InvalidInput, match="there are no nodes") as caught:
        ensure_valid(DagSpec(name="x", nodes=()))
    assert caught.value.details["findings"][0]["code"] == "HF-D006"
    ensure_valid(load_yaml("name: x\nnodes: [{id: fetch, type: h}, {id: Fetch, type: h}]"))


def test_every_code_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guide" / "dags.md").read_text("utf-8")
    assert re.findall(r"^\| `(HF-D\d{3})` \|", page, re.MULTILINE) == sorted(CODES)
