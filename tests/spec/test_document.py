"""Reading and writing documents: strict at the edge, with the place of what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.spec.conftest import CONFIGS, random_dags

from holdfast.errors import InvalidInput
from holdfast.spec.document import dump_json, dump_yaml, load_json, load_value, load_yaml
from holdfast.spec.model import DagSpec
from holdfast.spec.strict_json import parse_json
from holdfast.spec.strict_yaml import parse_yaml


@settings(deadline=None)
@given(random_dags())
def test_json_and_yaml_round_trip(document: dict[str, Any]) -> None:
    spec = load_value(document)
    assert load_json(dump_json(spec)) == spec
    assert load_yaml(dump_yaml(spec)) == spec
    assert load_yaml(dump_yaml(spec, complete=True)) == spec
    assert load_json(dump_json(load_yaml(dump_yaml(spec)))) == spec


@settings(deadline=None)
@given(CONFIGS)
def test_yaml_keeps_every_json_value(config: dict[str, Any]) -> None:
    spec = DagSpec.model_validate({"name": "x", "nodes": [{"id": "a", "type": "h", "config": config}]})
    assert load_yaml(dump_yaml(spec)).nodes[0].config == config


@settings(deadline=None)
@given(CONFIGS)
def test_json_is_read_as_python_reads_it(config: dict[str, Any]) -> None:
    assert parse_json(json.dumps(config)) == config
    assert parse_json(json.dumps(config, ensure_ascii=False, indent=1).encode()) == config


@settings(deadline=None)
@given(st.text(max_size=40) | st.text("{}[]:,\"\\ntrue10-.eE \n&*!|>?'#%", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (load_json, load_yaml, parse_json, parse_yaml):
        try:
            read(text)
        except InvalidInput:
            continue


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ('{"a": 1,\n "a": 2}', 2, 2, "'a' is here twice"),
        ('{"a": [{"b": 1,\n  "c": {},  "b": 2}]}', 2, 13, "'b' is here twice"),
        ('{"a":\n NaN}', 2, 2, "NaN is not JSON"),
        ("[1, -Infinity]", 1, 5, "not JSON"),
        ('{"a": "\\ud800"}', 1, 7, "surrogate"),
        ('{"\\udc00": 1}', 1, 2, "surrogate"),
        ("[" * 100_000, 1, 65, "nested more than 64 deep"),
        ("[" * 70 + "]" * 70, 1, 65, "nested more than 64 deep"),
        ('{"a": ' + "1" * 5000 + "}", 1, 7, "2^63"),
        ("[9223372036854775808]", 1, 2, "2^63"),
        ("[1e999]", 1, 2, "not a number"),
        ('{"a": 1,}', 1, 9, "not JSON"),
        ("{'a': 1}", 1, 2, "not JSON"),
        ("[1]\n2", 2, 1, "not JSON"),
        ("", 1, 1, "not JSON"),
    ],
)
def test_json_that_is_not_strict_is_refused_with_its_place(
    text: str, line: int, column: int, reason: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_json(text)
    assert (caught.value.details["line"], caught.value.details["column"]) == (line, column)
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("a: 1\na: 2", 2, 1, "'a' is here twice"),
        ("a: &x 1\nb: *x", 1, 4, "anchors"),
        ("b: *x", 1, 4, "anchors"),
        ("a: !!python/object:os.system x", 1, 4, "tag"),
        ("a: !x 1", 1, 4, "tag"),
        ("<<: {a: 1}", 1, 1, "merge keys"),
        ("? [a]\n: 1", 1, 3, "a key is a string"),
        ("a:\n  1: 2", 2, 3, "'1' is not a string; quote it"),
        ("true: 2", 1, 1, "quote it"),
        ("a: .nan", 1, 4, "not a number"),
        ("a: -.inf", 1, 4, "not a number"),
        ("a: 9223372036854775808", 1, 4, "2^63"),
        ("a: " + "1" * 5000, 1, 4, "2^63"),
        ("[" * 100_000, 1, 65, "nested more than 64 deep"),
        ("a: b\n---\nc: d", 2, 1, "second document"),
        ("%YAML 1.1\n---\na: 1", 1, 1, "directives"),
        ("%TAG ! tag:x,2000:\n---\na: 1", 1, 1, "directives"),
    ],
)
def test_yaml_that_surprises_is_refused_with_its_place(
    text: str, line: int, column: int, reason: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_yaml(text)
    assert reason in caught.value.message
    assert (caught.value.details["line"], caught.value.details["column"]) == (line, column)


@pytest.mark.parametrize("text", ["", "# nothing\n", "a: \x07", "\ud800", "a: [1, 2", "a: 'x", "- a\nb"])
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("''", ""),
        ("0o14", 12),
        ("014", 14),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("1e3", 1000.0),
        ("+1.5", 1.5),
        ('"1"', "1"),
        ("'true'", "true"),
        ("=", "="),
    ],
)
def test_yaml_has_the_types_of_the_core_schema(text: str, value: Any) -> None:
    found = parse_yaml(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_yaml_1_2_may_be_named() -> None:
    assert parse_yaml("%YAML 1.2\n---\na: 1\n...\n") == {"a": 1}


def test_a_document_has_a_size() -> None:
    with pytest.raises(InvalidInput, match="at most 1048576 are read"):
        parse_yaml("a: " + "x" * 1024 * 1024)
    with pytest.raises(InvalidInput, match="at most 100 are read"):
        parse_json(b'"' + b"x" * 100 + b'"', max_bytes=100)


def test_bytes_are_utf_8() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": "\xc3\xa9"}') == {"a": "é"}
    with pytest.raises(InvalidInput, match="not UTF-8: byte 0xff at position 1"):
        parse_json(b'"\xff"')


WRONG = """name: etl
nodes:
- id: a
  type: http
  timeout: soon
  zz: 1
- id: 5
edges:
- {from: a}
"""


def test_all_problems_of_form_come_at_once_with_node_line_and_fix() -> None:
    with pytest.raises(InvalidInput) as caught:
        load_yaml(WRONG)
    findings = caught.value.details["findings"]
    places = {finding["path"]: (finding.get("node"), finding["line"]) for finding in findings}
    assert places == {
        "nodes[0].timeout": ("a", 5),
        "nodes[0].zz": ("a", 6),
        "nodes[1].id": (None, 7),
        "nodes[1].type": (None, 7),
        "edges[0].to": (None, 9),
    }
    assert {finding["code"] for finding in findings} == {"HF-D001"}
    assert all(finding["fix"] for finding in findings)


def test_the_places_in_json_and_yaml_agree() -> None:
    text = json.dumps(parse_yaml(WRONG), indent=1)
    with pytest.raises(InvalidInput) as caught:
        load_json(text)
    for finding in caught.value.details["findings"]:
        line = text.splitlines()[finding["line"] - 1]
        last = finding["path"].rpartition(".")[2]
        assert last in line or "missing" in finding["message"]


@pytest.mark.parametrize(
    "value", [None, [], "x", 5, {"nodes": 5}, {"name": "x", "nodes": {"a": 1}}, {"name": "x", "nodes": [[]]}]
)
def test_what_is_no_document_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="not a DAG document"):
        load_value(value)


def test_python_names_of_fields_are_not_accepted_in_documents() -> None:
    with pytest.raises(InvalidInput, match="no field 'source'"):
        load_value({"name": "x", "nodes": [], "edges": [{"source": "a", "target": "b"}]})
