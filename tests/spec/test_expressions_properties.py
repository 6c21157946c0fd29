"""Expressions against Python's own arithmetic, and costs against what evaluation really visits."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidInput
from holdfast.spec import cel_cost
from holdfast.spec.cel_ast import Node
from holdfast.spec.cel_compile import build
from holdfast.spec.cel_lexer import CelSyntaxError
from holdfast.spec.cel_parser import parse
from holdfast.spec.cel_values import CelError, OverLimit, Work
from holdfast.spec.document import load_value
from holdfast.spec.expressions import MAX_ELEMENTS, compile
from holdfast.spec.names import CEL_WORDS
from holdfast.spec.validate import validate

SETTINGS = settings(deadline=None)  # a loaded machine is no failure
INTS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(INTS, DOUBLES, st.integers(-20, 20))
PYTHON = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
ORDER = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@SETTINGS
@given(NUMBERS, st.sampled_from(sorted(PYTHON)), NUMBERS)
def test_arithmetic_is_pythons_with_64_bits(left: float, sign: str, right: float) -> None:
    expression = compile(f"x {sign} y")
    both = isinstance(left, int) and isinstance(right, int)
    assume(not (sign == "/" and right == 0))
    if both and sign == "/":
        wanted: float = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    elif both:
        wanted = PYTHON[sign](left, right)
    else:
        wanted = PYTHON[sign](float(left), float(right))
    if not math.isfinite(wanted) or (both and not -(2**63) <= wanted < 2**63):
        with pytest.raises(InvalidInput, match="overflows" if both else "holds -?inf"):
            expression.evaluate({"x": left, "y": right})
        return
    result = expression.evaluate({"x": left, "y": right})
    assert result == wanted
    assert type(result) is (int if both else float)


@SETTINGS
@given(NUMBERS, st.sampled_from(sorted(ORDER)), NUMBERS)
def test_numbers_compare_as_in_python(left: float, sign: str, right: float) -> None:
    assert compile(f"x {sign} y").evaluate({"x": left, "y": right}) is ORDER[sign](left, right)


@SETTINGS
@given(INTS, INTS.filter(bool))
def test_division_and_remainder_fit_together(left: int, right: int) -> None:
    assume((left, right) != (-(2**63), -1))
    assert compile("x / y * y + x % y == x").evaluate({"x": left, "y": right}) is True


@SETTINGS
@given(NUMBERS)
def test_a_number_written_in_an_expression_is_that_number(number: float) -> None:
    result = compile(repr(number)).evaluate({})
    assert (type(result), result) == (type(number), number)


@SETTINGS
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_written_in_an_expression_is_that_text(text: str) -> None:
    written = "".join(f"\\U{ord(char):08x}" if char in "\\'\n\r" else char for char in text)
    assert compile(f"'{written}'").evaluate({}) == text
    assert compile("size(x)").evaluate({"x": text}) == len(text)


JSON = st.recursive(
    st.none() | st.booleans() | INTS | DOUBLES | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@SETTINGS
@given(JSON)
def test_json_goes_through_unchanged(value: Any) -> None:
    assert compile("x").evaluate({"x": value}) == value
    assert compile("[x]").evaluate({"x": value}) == [value]
    assert compile("x == y").evaluate({"x": value, "y": value}) is True


PIECES = st.recursive(
    st.sampled_from(["x", "y", "x.a", "y[0]", "[1, 2, 3]", "[x, y]", "1", "{'a': x}", "z"]),
    lambda inner: st.one_of(
        st.builds("{}.map(v, {})".format, inner, inner | st.just("v") | st.just("v.a")),
        st.builds("{}.map(v, true, [v, {}])".format, inner, inner),
        st.builds("{}.filter(v, {} in {})".format, inner, inner, inner),
        st.builds("{}.exists(z, {} == z)".format, inner, inner),
        st.builds("({} + {})".format, inner, inner),
        st.builds("(true ? {} : {})".format, inner, inner),
        st.builds("[{}]".format, inner),
        st.builds("{}.a".format, inner),
        st.builds("{}[0]".format, inner),
    ),
    max_leaves=6,
)
LISTS = st.recursive(
    st.integers(0, 3) | st.just({"a": [1, 2]}), lambda inner: st.lists(inner, max_size=4), max_leaves=12
)


@SETTINGS
@given(PIECES, LISTS, LISTS, LISTS)
def test_the_cost_known_beforehand_is_never_less_than_the_real_one(text: str, x: Any, y: Any, z: Any) -> None:
    values = {"x": x, "y": y, "z": z}
    expression = compile(text)
    wanted = {name: values[name] for name in expression.names}
    cost = cel_cost.elements(expression.tree, wanted, MAX_ELEMENTS)
    assume(cost < 100_000)
    work = Work(dict(wanted), MAX_ELEMENTS, 10**9)
    with contextlib.suppress(CelError, OverLimit):
        build(expression.tree)(work)
    assert work.elements <= cost


@SETTINGS
@given(st.text(alphabet="x1.[](){}'\"&|!?:,+-*/%<>= \\nuin\t{}", max_size=40))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        compile(text).evaluate({"x": [1]})


@SETTINGS
@given(
    st.lists(
        st.sampled_from([*sorted(CEL_WORDS), "a", "_b1", "size", "secrets", "int", "has"]),
        min_size=1,
        max_size=4,
    )
)
def test_a_path_is_read_as_the_grammar_reads_it(words: list[str]) -> None:
    text = ".".join(words)

    def tree(read: Callable[[], Node]) -> Node | str:
        try:
            return read()
        except CelSyntaxError as error:
            return f"{error.at}: {error.message}"

    # With a space behind it, it is not read by the shorter way.
    assert tree(lambda: parse(text)) == tree(lambda: parse(f"{text} "))


def test_a_document_of_plain_templates_needs_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are most of what large documents hold: splitting them into tokens took two thirds of the time."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the slow way")

    monkeypatch.setattr("holdfast.spec.templates.tokens", refuse)
    monkeypatch.setattr("holdfast.spec.cel_parser.tokens", refuse)
    nodes: list[dict[str, Any]] = [
        {"id": "a", "type": "fetcher", "config": {"x": "{{ input.plainly.read }}"}}
    ]
    nodes.append(
        {"id": "b", "type": "fetcher", "config": {"x": "of {{ a.read_plainly }}"}, "depends_on": ["a"]}
    )
    assert validate(load_value({"name": "x", "nodes": nodes})) == []
    with pytest.raises(AssertionError, match="the slow way"):
        compile("a + 2 * b + 1234567")
