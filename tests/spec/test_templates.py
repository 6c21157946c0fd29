"""Templates: types, text, escaping, secrets, and values that look like templates."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidInput, PayloadTooLarge
from holdfast.spec import templates

VALUES: dict[str, Any] = {
    "input": {"name": "Ada", "n": 2, "f": 2.0, "none": None, "flag": True, "list": [1, {"k": "é"}]},
    "fetch": {"body": "{{ input.name }}"},
}

CASES: list[tuple[str, Any]] = [
    ("plain", "plain"),
    ("", ""),
    ("{{ input.n }}", 2),
    ("{{input.n}}", 2),
    ("{{ input.list }}", [1, {"k": "é"}]),
    ("{{ input.none }}", None),
    ("{{ input.n > 1 }}", True),
    (" {{ input.n }}", " 2"),
    ("{{ input.n }}\n", "2\n"),
    ("{{ input.n }}{{ input.n }}", "22"),
    ("Hello {{ input.name }}!", "Hello Ada!"),
    ("{{ input.none }}/{{ input.flag }}/{{ input.f }}/{{ 0.1 }}", "null/true/2.0/0.1"),
    ("x={{ input.list }}", 'x=[1,{"k":"é"}]'),
    ("{{ {'a': {'b': 1}}}}", {"a": {"b": 1}}),
    ("{{ '}}' }}", "}}"),
    ("{{ '{{' }} input.name }}", "{{ input.name }}"),
    ("a }} b { c }", "a }} b { c }"),
    ("{{ fetch.body }}", "{{ input.name }}"),
    ("<{{ fetch.body }}>", "<{{ input.name }}>"),
    ("{{ input.name // the first one\n}}", "Ada"),
]


@pytest.mark.parametrize(("text", "wanted"), CASES)
def test_a_string_is_rendered_once(text: str, wanted: Any) -> None:
    result = templates.render({"deep": [text]}, VALUES)["deep"][0]
    assert (type(result), result) == (type(wanted), wanted)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {{ input.n", r"position 3: this \{\{ has no \}\}"),
        ("{{ } }}", "has no"),
        ("{{ 'a }}", "position 4: the string has no closing"),
        ("{{ }}", "expected a value"),
        ("{{ input.nmae }}", "did you mean 'name'"),
        ("{{ inptu }}", "did you mean 'input'"),
        ("{{ 1 +", "has no"),
        ("{{ 1 / 0 }}", "divides by zero"),
        ("{{ secrets.KEY }}", "no secrets are known here"),
    ],
)
def test_what_cannot_be_rendered_says_where(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        templates.render({"a": text}, VALUES)


def test_numbers_and_keys_of_a_config_stay() -> None:
    config = {"{{ input.n }}": 1, "b": [True, None, 1.5]}
    assert templates.render(config, VALUES) == config


def test_names_and_secrets_of_a_config_are_known() -> None:
    config = {
        "url": "https://{{ input.host }}/{{ fetch.id }}",
        "headers": [{"Authorization": "Bearer {{ secrets.TOKEN }}"}],
        "list": "{{ rows.map(r, r.id + variables.offset) }}",
        "plain": "secrets.OTHER",
    }
    assert templates.names(config) == {"input", "fetch", "rows", "variables", "secrets"}
    assert templates.secrets(config) == {"TOKEN"}


def test_secrets_are_asked_for_by_name_when_they_are_used() -> None:
    asked: list[str] = []

    def secret(name: str) -> str:
        asked.append(name)
        return f"<{name}>"

    config = {"a": "Bearer {{ secrets.TOKEN }}", "b": "{{ input.n }}"}
    assert templates.render(config, VALUES, secrets=secret) == {"a": "Bearer <TOKEN>", "b": 2}
    assert asked == ["TOKEN"]


def test_a_secret_is_not_parsed_and_not_shown() -> None:
    def secret(name: str) -> str:
        return "{{ input.name }}"

    assert templates.render("{{ secrets.T }}", VALUES, secrets=secret) == "{{ input.name }}"
    with pytest.raises(InvalidInput, match="not shown") as caught:
        templates.render("{{ int(secrets.T) }}", VALUES, secrets=secret)
    assert "input.name" not in str(caught.value)


def test_values_named_secrets_by_a_node_are_not_used() -> None:
    values = {**VALUES, "secrets": {"T": "from a node"}}
    assert templates.render("{{ secrets.T }}", values, secrets=lambda name: "real") == "real"
    with pytest.raises(InvalidInput, match="no secrets are known"):
        templates.render("{{ secrets.T }}", values)


def test_a_large_list_is_evaluated_in_a_child() -> None:
    rows = list(range(5_000))
    assert templates.render("{{ rows.filter(r, r < 2) }}", {"rows": rows}) == [0, 1]


def test_endless_text_is_refused() -> None:
    with pytest.raises(PayloadTooLarge, match="longer than"):
        templates.render(["x{{ a }}"] * 60, {"a": "a" * 1024 * 1024})


def test_hostile_configs_are_answered_at_once() -> None:
    started = time.process_time()
    deep: Any = "{{ 1 }}"
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(InvalidInput, match="deeper than 100"):
        templates.render(deep, {})
    with pytest.raises(InvalidInput, match="deeper than 100"):
        templates.names(deep)
    for text in ("{{" * 50_000, "{{ {" * 20_000, "{{ '" * 20_000, "{{ 1 }}" * 20_000 + "{{"):
        with pytest.raises(InvalidInput):
            templates.parse(text)
    assert time.process_time() - started < 2


@settings(deadline=None)
@given(st.text(), st.text())
def test_a_value_goes_into_a_text_as_it_is(before: str, value: str) -> None:
    before = before.replace("{", "(")
    assert templates.render(before + "{{ x }}.", {"x": value}) == before + value + "."
    assert templates.render("{{ x }}", {"x": value}) == value


@pytest.mark.parametrize(
    ("config", "light"),
    [
        ({"a": ["plain", 1]}, True),
        ({"a": "{{ few[0] }} and {{ size(few) }}"}, True),
        ({"a": "{{ few.map(n, n * 2) }}"}, True),
        ({"a": "{{ many.map(n, n * 2) }}"}, False),
        ({"a": "{{ many.map(n, many.map(m, many.map(o, o))) }}"}, False),
        ({"a": "{{ large }}"}, False),
        ({"a": "{{ secrets.KEY }}"}, False),
    ],
)
def test_what_is_rendered_where_others_wait_is_small(config: object, light: bool) -> None:
    values = {"few": [1, 2], "many": list(range(2_000)), "large": "x" * 100_000}
    assert templates.is_light(config, values) is light
