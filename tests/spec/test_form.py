"""Documents whose form is wrong: what is said about it, and about all the rest."""

from __future__ import annotations

import re
from typing import Any

import pytest

from holdfast.errors import InvalidInput
from holdfast.spec.document import load_value, load_yaml
from holdfast.spec.finding import Finding
from holdfast.spec.validate import validate


def findings_of(document: str | dict[str, Any]) -> list[Finding]:
    with pytest.raises(InvalidInput) as caught:
        load_yaml(document) if isinstance(document, str) else load_value(document)
    return [Finding(**found) for found in caught.value.details["findings"]]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("{id: a, type: h, tmeout: 5s}", "no field 'tmeout' in nodes[0]. Did you mean 'timeout'?"),
        ("{id: a, type: h, map: {over: '3', ovr: 5}}", "'ovr' in nodes[0].map. Did you mean 'over'?"),
        ("{id: a, type: h, loop: {while: a, max_iterations: 2, whle: 1}}", "Did you mean 'while'?"),
        ("{id: a}", "the field 'type' is missing in nodes[0]. Add it."),
        ("{id: 5, type: h}", 'nodes[0].id is 5; expected text. Put it in quotes: "5".'),
        ("{id: a, type: ''}", "nodes[0].type is empty."),
        ("{id: a, type: h, config: [1]}", "nodes[0].config is [1]; expected an object. Write an object."),
        ("{id: a, type: h, depends_on: b}", 'nodes[0].depends_on is "b"; expected a list. Put it in brackets: ["b"].'),
        ("{id: a, type: h, depends_on: {b: 1}}", "expected a list. Write a list."),
        ("{id: a, type: h, map: {over: 5}}", 'nodes[0].map.over is 5; expected text. Put it in quotes: "5".'),
        ("{id: a, type: h, map: {over: '3', concurrency: 1000}}", "is 1000; it must be at most 500."),
        ("{id: a, type: h, map: {over: '3', concurrency: 2.5}}", "is 2.5; expected a whole number."),
        ("{id: a, type: h, when_unmet: skp}", 'is "skp"; it may be skip, skip_cascade or fail. Did you mean \'skip\'?'),
        ("{id: a, type: h, retry: patent}", "Did you mean 'patient'?"),
        ("{id: a, type: h, retry: {max_attempts: -1}}", "nodes[0].retry.max_attempts is -1; it must be at least 0."),
        ("{id: a, type: h, timeout: soon}", "nodes[0].timeout: 'soon' is no duration: write 30s"),
        ("{id: a, type: h, local: maybe}", 'nodes[0].local is "maybe"; expected true or false.'),
        ("5", "nodes[0] is 5; expected an object."),
    ],
)  # fmt: skip
def test_a_wrong_form_is_told_in_the_words_of_documents(node: str, said: str) -> None:
    (finding,) = findings_of(f"name: x\nnodes: [{node}]")
    assert finding.code == "HF-D001"
    assert said in f"{finding.message}. {finding.fix}"
    assert not re.search(r"Input should|valid|tuple|dictionary|Spec|instance", str(finding))


def test_a_long_value_is_shown_by_its_kind() -> None:
    (finding,) = findings_of({"name": "x", "nodes": [{"id": "a", "type": "h"}], "output": list(range(100))})
    assert finding.message == "output is a list; expected text"
    (finding,) = findings_of({"name": "x", "nodes": [{"id": "a", "type": "h"}], "options": "y" * 500})
    assert len(finding.message) < 120
    (finding,) = findings_of({"name": "x y", "nodes": [{"id": "a", "type": "h"}]})
    assert 'name is "x y"; it holds other characters than letters' in finding.message
    (finding,) = findings_of({"name": "x", "nodes": [{"id": "a", "type": "h", "config": {"b": {1}}}]})
    assert finding.message == "nodes[0].config.b is a value of type 'set'; expected a value of JSON"


def test_what_is_wrong_beside_the_form_is_said_at_the_same_time() -> None:
    found = findings_of(
        """
name: x
nodes:
- {id: a, type: fetcher, depends_on: [b, zz], timeout: soon}
- {id: b, type: fetcher, depends_on: [a]}
- {id: d, type: fetcher, config: {x: '{{ 1 + }}'}, retrys: 3}
- {id: c, type: fetcher}
- {id: c, type: timer, config: {duration: 1s, until: "2030-01-01"}, map: {over: nobody, concurrency: 1000}}
"""
    )
    assert sorted((one.code, one.node, one.line) for one in found) == [
        ("HF-D001", "a", 4),
        ("HF-D001", "c", 8),
        ("HF-D001", "d", 6),
        ("HF-D004", "c", 8),
        ("HF-D010", "a", 4),
        ("HF-D012", "a", 4),
        ("HF-D031", "c", 8),
        ("HF-D032", "c", 8),
        ("HF-D040", "d", 6),
        ("HF-D041", "c", 8),
    ]


@pytest.mark.parametrize(
    ("document", "mended"),
    [
        # Each is right but for one mistake of form: nothing that only follows from it is said.
        ("nodes: [{id: 5, type: h}, {id: b, type: h, depends_on: [a], when: a.x}]", ("id: 5", "id: a")),
        ("nodes: [7, {id: b, type: h, depends_on: [a], when: a.x}]", ("7", "{id: a, type: h}")),
        ("nodes: [{id: a}, {id: b, type: h, when: a.x}]\nedges: [{from: a, to: 5}]", ("{id: a}", "{id: a, type: h}")),
        ("nodes: [{id: a, type: h}, {id: b, type: h, when: a.x}]\nedges: 5", ("5", "[{from: a, to: b}]")),
        ("nodes: [{id: a, type: h}, {id: b, type: h, when: a.x, depends_on: a}]", ("depends_on: a", "depends_on: [a]")),
        (
            "nodes: [{id: a, type: switch, config: 5}, {id: b, type: h, when: 'a == null'}]",
            ("5", "{cases: [{when: 'true', to: b}]}"),
        ),
        ("nodes: [{id: a, type: h, map: {over: 5, item_name: r}, config: {x: '{{ r }}'}}]", ("5", "'5'")),
        ("nodes: [{id: a, type: h, map: {over: '5', item_name: 5}, config: {x: '{{ r }}'}}]", ("name: 5", "name: r")),
        (
            "nodes: [{id: a, type: h, loop: {while: a.x}, config: {x: '{{ a }} {{ iteration }}'}}]",
            ("a.x}", "a.x, max_iterations: 3}"),
        ),
        ("nodes: [{id: a, type: h}, {id: b, type: h, when: a.x, depend_on: [a]}]", ("depend_on", "depends_on")),
        ("nodes: [{id: a, type: h}, {id: b, type: h, when: a.x}]\nedge: [{from: a, to: b}]", ("edge", "edges")),
        ("nodes: [{id: a, type: h, mapp: {over: '5'}, config: {x: '{{ item }}'}}]", ("mapp", "map")),
        ("nodes: [{id: a, type: timer, config: []}]", ("[]", "{duration: 1s}")),
        ("nodes: [{id: a, timeout: 1s, config: {x: 1}}]", ("timeout", "type: h, timeout")),
    ],
)  # fmt: skip
def test_nothing_is_said_that_only_follows_from_the_form(document: str, mended: tuple[str, str]) -> None:
    found = findings_of(f"name: x\n{document}")
    assert {one.code for one in found} == {"HF-D001"}, found
    right = document.replace(*mended, 1).replace("to: 5", "to: b")
    assert validate(load_yaml(f"name: x\n{right}")) == []


def test_documents_inside_of_documents_are_read_as_far_as_they_can_be() -> None:
    inner = {"name": "in", "nodes": [{"id": "a", "type": "h", "zz": 1, "when": "1 +"}]}
    spec = load_value(
        {"name": "x", "nodes": [{"id": "w", "type": "workflow", "config": {"workflow": inner}}]}
    )
    assert [(one.code, one.path) for one in validate(spec)] == [
        ("HF-D001", "nodes[0].config.workflow.nodes[0].zz"),
        ("HF-D040", "nodes[0].config.workflow.nodes[0].when"),
    ]


def test_a_check_of_ones_own_looks_at_the_rest() -> None:
    def check(spec: object) -> list[Finding]:
        return [Finding(code="HF-D030", message="mine", fix="Mend it.", node="a", path="nodes[0].type")]

    with pytest.raises(InvalidInput, match="mine"):
        load_value({"name": "x", "nodes": [{"id": "a", "type": "h"}], "zz": 1}, check=check)


@pytest.mark.parametrize(
    "text", ["name: x\nnodes:\n\t- id: a\n", "name: x\nnodes:\n  - id: a\n\t  type: b\n"]
)
def test_a_tab_is_called_a_tab(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"line \d, column 1: not YAML: a tab in the indentation"):
        load_yaml(text)
