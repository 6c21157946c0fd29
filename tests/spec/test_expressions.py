"""Expressions: values, names, messages, and how far they follow CEL."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import InvalidInput
from holdfast.spec.cel_functions import FUNCTIONS
from holdfast.spec.cel_macros import MACROS
from holdfast.spec.expressions import compile

VALUES: dict[str, Any] = {
    "input": {"name": "Ada", "age": 36, "tags": ["a", "b"], "rate": 0.5, "none": None, "flag": True},
    "rows": [{"id": 1, "ok": True}, {"id": 2, "ok": False}, {"id": 3, "ok": True}],
    "skipped": None,
}

TABLE: dict[str, list[tuple[str, Any]]] = {
    "numbers": [
        ("1 + 2", 3),
        ("1.5 * 2", 3.0),
        ("1 + 2.5", 3.5),
        ("2.5 - 1", 1.5),
        ("1 / 2.0", 0.5),
        ("10 / 4", 2),
        ("-10 / 4", -2),
        ("10 / 4.0", 2.5),
        ("7 % 3", 1),
        ("-7 % 3", -1),
        ("input.age * input.rate", 18.0),
        ("2 * 3 + 4", 10),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("10 - 3 - 2", 5),
        ("--1", 1),
        ("-9223372036854775808", -(2**63)),
        ("0x1F", 31),
        ("1e3", 1000.0),
        (".5 + 1", 1.5),
        ("3u + 4u", 7),
    ],
    "comparisons": [
        ("1 == 1.0", True),
        ("1 != 2.5", True),
        ("1 < 1.5", True),
        ("2.0 >= 2", True),
        ("9007199254740993 > 9007199254740992.0", True),
        ("1 == true", False),
        ("'1' == 1", False),
        ("null == null", True),
        ("null == 0", False),
        ("skipped == null", True),
        ("[1, 2.0] == [1.0, 2]", True),
        ("{'a': 1} == {'a': 1.0}", True),
        ("'a' < 'b'", True),
        ("'Z' < 'a'", True),
        ("false < true", True),
        ("2 in [2.0]", True),
        ("true in [1]", False),
        ("'name' in input", True),
        ("'nope' in input", False),
    ],
    "logic": [
        ("true && false || true", True),
        ("!input.flag", False),
        ("!!input.flag", True),
        ("true || 1 / 0 == 1", True),
        ("1 / 0 == 1 || true", True),
        ("false && 1 / 0 == 1", False),
        ("1 / 0 == 1 && false", False),
        ("input.age > 30 ? 'old' : 'young'", "old"),
        ("false ? 1 : true ? 2 : 3", 2),
        ("true ? 1 : 1 / 0", 1),
    ],
    "strings": [
        ("'a' + \"b\"", "ab"),
        ("size('é😀')", 2),
        ("'héllo'.size()", 5),
        ("'hello'.contains('ell')", True),
        ("'hello'.startsWith('he')", True),
        ("'hello'.endsWith('he')", False),
        ("'abc123'.matches('[0-9]+$')", True),
        ("matches('abc', '^b')", False),
        (r"'\u00e9\n\x41\101'", "é\nAA"),
        (r"r'\n'", r"\n"),
        ("'''a\n'b' '''", "a\n'b' "),
        ("b'abc'", "YWJj"),
        ("string(b'\\xc3\\xa9')", "é"),
        ("'a' == 'a' // a comment", True),
    ],
    "fields": [
        ("input.name", "Ada"),
        ("input['name']", "Ada"),
        ("input.`name`", "Ada"),
        ("input.tags[1]", "b"),
        ("input.tags[1.0]", "b"),
        ("{1: 'x'}[1.0]", "x"),
        ("{'if': 1}.if", 1),
        ("has(input.name)", True),
        ("has(input.nope)", False),
        ("has(skipped.anything)", False),
        ("input.none", None),
        ("has(input.none)", True),
    ],
    "lists and maps": [
        ("[1, 'a', null, [true]]", [1, "a", None, [True]]),
        ("[1, 2,]", [1, 2]),
        ("[1] + [2]", [1, 2]),
        ("{'a': {'b': [1]}}", {"a": {"b": [1]}}),
        ("{1: 2, true: 3}", {"1": 2, "true": 3}),
        ("size(rows)", 3),
        ("size({})", 0),
        ("rows", VALUES["rows"]),
    ],
    "macros": [
        ("rows.filter(r, r.ok).map(r, r.id)", [1, 3]),
        ("rows.map(r, r.ok, r.id * 10)", [10, 30]),
        ("rows.exists(r, r.id == 2)", True),
        ("rows.all(r, r.id > 1)", False),
        ("rows.exists_one(r, r.ok)", False),
        ("rows.existsOne(r, !r.ok)", True),
        ("[1, 2].map(i, [10, 20].map(j, i * j))", [[10, 20], [20, 40]]),
        ("[1].map(x, [2].map(x, x) + [x])", [[2, 1]]),
        ("input.map(k, k).size()", 6),
        ("[].all(x, false)", True),
        ("[0, 1].exists(x, 1 / x == 1)", True),
        ("[0, 1].all(x, 2 / x == 1)", False),
    ],
    "conversions": [
        ("int('42')", 42),
        ("int(2.9)", 2),
        ("int(-2.9)", -2),
        ("double('1.5')", 1.5),
        ("double(2)", 2.0),
        ("string(1.0)", "1"),
        ("string(1.25)", "1.25"),
        ("string(true)", "true"),
        ("bool('true')", True),
        ("type(1)", "int"),
        ("type(1.0) == double", True),
        ("type(null) == null_type", True),
        ("dyn(1) == 1", True),
        ("uint(3)", 3),
    ],
    "times": [
        ("timestamp('2026-01-31T12:00:00+02:00')", "2026-01-31T10:00:00Z"),
        ("timestamp('2026-01-31T12:00:00.5Z') - timestamp('2026-01-31T11:00:00Z')", "3600.5s"),
        ("timestamp('2026-01-31T12:00:00Z') + duration('1h30m')", "2026-01-31T13:30:00Z"),
        ("timestamp('2026-01-31T12:00:00Z') < timestamp('2026-02-01T00:00:00Z')", True),
        ("timestamp('2026-01-31T23:30:00Z').getDate('+01:00')", 1),
        ("timestamp('2026-01-31T23:30:00Z').getDayOfWeek()", 6),
        ("int(timestamp('1970-01-01T00:01:00Z'))", 60),
        ("timestamp(60)", "1970-01-01T00:01:00Z"),
        ("duration('90s') == duration('1m30s')", True),
        ("duration('-1.5s')", "-1.5s"),
        ("duration('90m').getHours()", 1),
    ],
}
"""What each expression gives, by what it is about."""

FAILING: list[tuple[str, str]] = [
    ("1 / 0", "divides by zero"),
    ("1 % 0", "divides by zero"),
    ("1.5 % 2", "% is for integers"),
    ("9223372036854775807 + 1", "overflows"),
    ("-9223372036854775808 / -1", "overflows"),
    ("9223372036854775808", "does not fit 64 bits"),
    ("1.0 / 0.0", "holds inf"),
    ("1u - 2u", "overflows"),
    ("1u + 1", r"convert one with int\(\)"),
    ("'a' + 1", r"convert the other one with string\(\)"),
    ("'a' < 1", "have no order"),
    ("!1", "takes a boolean"),
    ("1 && true", "takes booleans"),
    ("1 ? 2 : 3", "not a boolean"),
    ("input.nmae", "did you mean 'name'"),
    ("input.tags[2]", "has 2 elements"),
    ("input.tags['a']", "no position"),
    ("input.age.year", "has no fields"),
    ("skipped.rows", "null has no fields"),
    ("inputs.name", "did you mean 'input'"),
    ("true || missing", "no 'missing' here"),
    ("size(1)", "has no size"),
    ("5.map(x, x)", "goes over lists and maps"),
    ("rows.filter(r, r.id)", "not a boolean"),
    ("int('x')", "cannot be an int"),
    ("int(1e19)", "does not fit"),
    ("'a'.matches('[')", "no regular expression"),
    ("'a'.matches('(?=a)')", "look-around"),
    ("timestamp('yesterday')", "no timestamp"),
    ("timestamp('2026-02-30T00:00:00Z')", "exists"),
    ("timestamp(0).getHours('Europe/Paris')", "use 'UTC' or an offset"),
    ("duration('1 hour')", "no duration"),
    ("duration('999999h') * 2", "does not take"),
    ("{'a': 1, 'a': 2}", "twice"),
    ("{null: 1}", "cannot be a key"),
    ("1 +", "column 4: expected a value, found the end"),
    ("1 + + 2", "column 5"),
    ("a b", "column 3: expected an operator or the end"),
    ("'abc", "no closing"),
    (r"'\q'", "is no escape"),
    ("foo(1)", "no function 'foo'"),
    ("'a'.contain('b')", "did you mean 'contains'"),
    ("size()", "takes 1 argument, not 0"),
    ("has(1)", "has\\(\\) takes one field"),
    ("rows.map(1, 2)", "is a name for the element"),
    ("rows.map(r)", "takes 2 or 3 arguments"),
    ("Order{id: 1}", "messages cannot be built"),
    ("for + 1", "reserved word"),
    ("1 = 1", "unexpected character '='"),
    ("12abc", "a number is followed by 'a'"),
    ("", "expected a value"),
]
"""What each expression is answered."""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [case for cases in TABLE.values() for case in cases],
    ids=lambda value: str(value)[:50],
)
def test_an_expression_has_its_value_and_type(text: str, wanted: Any) -> None:
    result = compile(text).evaluate(VALUES)
    assert result == wanted
    assert type(result) is type(wanted)


@pytest.mark.parametrize(("text", "message"), FAILING, ids=lambda value: value[:50])
def test_what_has_no_value_says_why_and_shows_the_text(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        compile(text).evaluate(VALUES)
    assert repr(text.strip()) in caught.value.message
    assert "position" in caught.value.details


def test_names_are_the_free_ones() -> None:
    assert compile("size(fetch) > 0 && input.x.y == rows[i].z").names == {"fetch", "input", "rows", "i"}
    assert compile("rows.map(r, r.id + x).filter(r, r > r0)").names == {"rows", "x", "r0"}
    assert compile("x.map(x, x)").names == {"x"}
    assert compile("{key: 1}['text']").names == {"key"}
    assert compile("type(1) == int").names == frozenset()
    assert compile("has(clean.rows)").names == {"clean"}


def test_secrets_are_known_by_their_names() -> None:
    expression = compile("secrets.KEY + secrets.OTHER + input.x")
    assert expression.secrets == {"KEY", "OTHER"}
    assert "secrets" in expression.names
    with pytest.raises(InvalidInput, match="only there inside"):
        expression.evaluate({"input": {"x": "a"}})


@pytest.mark.parametrize(
    "text", ["secrets", "secrets['A']", "has(secrets.A)", "size(secrets)", "secrets.map(s, s)"]
)
def test_secrets_cannot_be_taken_otherwise(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"only used as secrets\.NAME"):
        compile(text)


@pytest.mark.parametrize("text", ["int(secrets.K)", "secrets.K + 1", "{'a': 1}[secrets.K]", "secrets.K.x"])
def test_an_error_never_shows_a_secret(text: str) -> None:
    with pytest.raises(InvalidInput, match="not shown because it uses secrets") as caught:
        compile(text).evaluate({"secrets": {"K": "hunter2"}})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None
    with pytest.raises(InvalidInput) as caught:
        compile("secrets.K").evaluate_bool({"secrets": {"K": "hunter2"}})
    assert "hunter2" not in str(caught.value)


def test_a_condition_must_be_boolean() -> None:
    assert compile("input.age > 1").evaluate_bool(VALUES) is True
    with pytest.raises(InvalidInput, match="must be true or false, not the string 'Ada'"):
        compile("input.name").evaluate_bool(VALUES)


def test_integers_beyond_64_bits_are_refused_where_they_are_used() -> None:
    with pytest.raises(InvalidInput, match="does not fit 64 bits"):
        compile("x > 1").evaluate({"x": 2**63})
    with pytest.raises(InvalidInput, match="does not fit 64 bits"):
        compile("x.map(i, i)").evaluate({"x": [-(2**63) - 1]})


def test_a_value_that_is_only_passed_on_is_not_copied() -> None:
    assert compile("input.tags").evaluate(VALUES) is VALUES["input"]["tags"]


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a object is no JSON value"):
        compile("x == 1").evaluate({"x": object()})
    with pytest.raises(InvalidInput, match="holds nan"):
        compile("x").evaluate({"x": float("nan")})


def test_equal_texts_compile_once() -> None:
    assert compile(" 1 + 1 ") is compile("1 + 1")


def test_the_position_is_named_on_its_line() -> None:
    with pytest.raises(InvalidInput, match="line 2, column 5") as caught:
        compile("1 +\n  2 )")
    assert caught.value.details["position"] == 8


def test_importing_expressions_starts_nothing_and_needs_no_temporal() -> None:
    code = (
        "import sys, types; package = types.ModuleType('holdfast'); package.__path__ = [sys.argv[1]];"
        "sys.modules['holdfast'] = package; from holdfast.spec import expressions, templates;"
        "assert expressions.compile('1 + 1').evaluate({}) == 2;"
        "print([name for name in ('temporalio', 'pydantic', 'subprocess') if name in sys.modules])"
    )
    import holdfast

    done = subprocess.run(
        [sys.executable, "-c", code, next(iter(holdfast.__path__))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "expressions.md"


def test_the_guide_names_every_function_and_macro() -> None:
    words = set(re.findall(r"`(\w+)`", GUIDE.read_text("utf-8")))
    assert {*FUNCTIONS, *MACROS} <= words


def test_the_examples_of_the_guide_are_true() -> None:
    text = GUIDE.read_text("utf-8")
    (given,) = re.findall(r"With `input` = `(.*)` \|", text)
    values = {"input": json.loads(given)}
    examples = re.findall(r"^\| `(.*)` \| `(.*)` \|$", text, re.MULTILINE)
    assert len(examples) > 10
    for expression, wanted in examples:
        assert json.dumps(compile(expression).evaluate(values)) == wanted
