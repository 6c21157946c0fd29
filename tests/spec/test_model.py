"""The document: what it accepts, what means the same, and its hash."""

from __future__ import annotations

import copy
import json
import pickle
import random
import subprocess
import sys
from datetime import timedelta
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.spec.conftest import random_dags

from holdfast import RetryPolicy
from holdfast.spec.duration import format_duration, parse_duration
from holdfast.spec.model import DagSpec, NodeSpec, RetrySpec, json_schema, switch_targets

SCHEMA = jsonschema_rs.Draft202012Validator(json_schema(), offline=True)


def spec_of(**document: Any) -> DagSpec:
    return DagSpec.model_validate({"name": "etl", "nodes": [{"id": "a", "type": "http"}], **document})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1h30m", 5400),
        ("100ms", 0.1),
        ("2d", 172800),
        ("1w", 604800),
        ("1.5h", 5400),
        ("PT30S", 30),
        ("PT1H30M", 5400),
        ("P1DT0.5S", 86400.5),
        ("P2W", 1209600),
        (30, 30),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_read(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "30",
        "s",
        "P",
        "PT",
        "P1DT",
        "-5s",
        "0s",
        0,
        -1,
        True,
        None,
        "11y",
        "9999w",
        1e300,
        float("nan"),
        "٣s",
        "1h 30m",
        [],
    ],
)
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@settings(deadline=None)
@given(st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=3660)))
def test_a_written_duration_reads_back(value: timedelta) -> None:
    assert abs(parse_duration(format_duration(value)) - value) <= timedelta(microseconds=1)


def test_unknown_fields_are_errors_at_every_depth() -> None:
    document: dict[str, Any] = {
        "name": "etl",
        "nodez": [],
        "nodes": [{"id": "a", "type": "http", "retries": 3, "map": {"over": "input", "parallel": 2}}],
        "options": {"max_paralel": 3},
    }
    with pytest.raises(ValidationError) as caught:
        DagSpec.model_validate(document)
    wrong = {error["loc"][-1] for error in caught.value.errors() if error["type"] == "extra_forbidden"}
    assert wrong == {"nodez", "retries", "parallel", "max_paralel"}


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        spec_of().name = "other"


def test_a_named_retry_means_its_fields() -> None:
    by_name = NodeSpec.model_validate({"id": "a", "type": "http", "retry": "patient"})
    assert by_name.retry is not None
    assert by_name.retry.policy == RetryPolicy(
        max_attempts=10, first_delay=timedelta(seconds=5), max_delay=timedelta(minutes=10)
    )
    assert RetrySpec.of(by_name.retry.policy) == by_name.retry
    with pytest.raises(ValidationError, match="'eager' is not known; use one of none, standard"):
        NodeSpec.model_validate({"id": "a", "type": "http", "retry": "eager"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", 2**63, b"x", {1: 2}])
def test_a_config_holds_only_what_json_holds(value: Any) -> None:
    with pytest.raises(ValidationError):
        spec_of(nodes=[{"id": "a", "type": "http", "config": {"x": [value]}}])


@settings(deadline=None)
@given(random_dags(), st.randoms())
def test_order_and_style_of_edges_make_no_difference(document: dict[str, Any], chance: random.Random) -> None:
    other = json.loads(json.dumps(document))
    edges: list[dict[str, str]] = []
    for node in other["nodes"]:
        sources = node.pop("depends_on", [])
        chance.shuffle(sources)
        kept = [source for source in sources if chance.random() < 0.5]
        edges += [
            {"from": source, "to": node["id"]}
            for source in sources
            if source not in kept or chance.random() < 0.3
        ]
        if kept:
            node["depends_on"] = kept
    chance.shuffle(other["nodes"])
    chance.shuffle(edges)
    first, second = DagSpec.model_validate(document), DagSpec.model_validate({**other, "edges": edges})
    assert first == second
    assert hash(first) == hash(second)
    assert first.content_hash == second.content_hash
    assert first.canonical() == second.canonical()
    assert DagSpec.model_validate(first.canonical()) == first


@settings(deadline=None)
@given(random_dags())
def test_a_complete_document_means_the_same(document: dict[str, Any]) -> None:
    spec = DagSpec.model_validate(document)
    assert DagSpec.model_validate(spec.document(complete=True)) == spec
    assert DagSpec.model_validate_json(json.dumps(spec.document())) == spec


def test_every_difference_that_counts_changes_the_hash() -> None:
    specs = [
        spec_of(),
        spec_of(name="etl2"),
        spec_of(description="x"),
        spec_of(variables={"x": 1}),
        spec_of(variables={"x": 1.5}),
        spec_of(output="a"),
        spec_of(options={"max_parallel": 5}),
        spec_of(nodes=[{"id": "b", "type": "http"}]),
        spec_of(nodes=[{"id": "a", "type": "http", "config": {"x": None}}]),
        spec_of(nodes=[{"id": "a", "type": "http", "local": True}]),
        spec_of(nodes=[{"id": "a", "type": "http"}, {"id": "b", "type": "http"}]),
        spec_of(nodes=[{"id": "a", "type": "http"}, {"id": "b", "type": "http", "depends_on": ["a"]}]),
        spec_of(edges=[{"from": "q", "to": "zz"}]),
    ]
    assert len({spec.content_hash for spec in specs}) == len(specs)


def test_one_target_is_a_list_of_one_and_an_empty_default_is_none() -> None:
    def switch(**config: Any) -> DagSpec:
        nodes = [
            {"id": "s", "type": "switch", "config": config},
            {"id": "a", "type": "h"},
            {"id": "b", "type": "h"},
        ]
        return spec_of(nodes=nodes)

    case = {"when": "true", "to": "a"}
    one = switch(cases=[case])
    for other in (
        switch(cases=[case | {"to": ["a"]}]),
        switch(cases=[case], default=[]),
    ):
        assert (one, one.content_hash) == (other, other.content_hash)
    assert switch(cases=[case], default="b") == switch(cases=[case], default=["b"]) != one
    assert switch(cases=[5, {"to": 5}], default=5) != one


def test_a_changed_copy_has_its_own_hash() -> None:
    spec = spec_of()
    assert spec.content_hash != spec.model_copy(update={"name": "other"}).content_hash
    assert spec == spec.model_copy() == pickle.loads(pickle.dumps(spec)) == copy.deepcopy(spec)


def test_the_hash_of_a_document_does_not_change_between_versions() -> None:
    spec = spec_of(
        nodes=[
            {"id": "b", "type": "http", "timeout": "1m", "config": {"url": "x"}},
            {"id": "a", "type": "llm"},
        ]
    )
    assert spec.content_hash == "d4b99a07e4de3490c8da0ee8bcdb49989fc8c79f9c3e83eb8f0daf48397815fd"


def test_the_targets_of_a_switch_depend_on_it() -> None:
    switch = {
        "id": "s",
        "type": "switch",
        "config": {"cases": [{"when": "true", "to": ["a", "b"]}], "default": "c"},
    }
    spec = spec_of(nodes=[switch, *({"id": name, "type": "http"} for name in "abc")])
    assert switch_targets(spec.nodes[0]) == ("c", "a", "b")
    assert spec.dependencies == {"s": (), "a": ("s",), "b": ("s",), "c": ("s",)}


@settings(deadline=None)
@given(random_dags())
def test_the_json_schema_accepts_what_the_model_accepts(document: dict[str, Any]) -> None:
    SCHEMA.validate(document)
    SCHEMA.validate(DagSpec.model_validate(document).document())


def test_the_json_schema_refuses_unknown_fields_and_describes_each_field() -> None:
    schema = json_schema()
    validator = jsonschema_rs.Draft202012Validator(schema, offline=True)
    assert not validator.is_valid({"name": "x", "nodes": [], "zz": 1})
    assert not validator.is_valid({"name": "x", "nodes": [{"id": "a", "type": "b", "timeout": "soon"}]})
    for name in ("over", "concurrency", "on_error"):
        assert schema["$defs"]["MapSpec"]["properties"][name]["description"]


def test_importing_holdfast_does_not_build_models() -> None:
    code = "import sys, holdfast; print('holdfast.spec.model' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["False"]
