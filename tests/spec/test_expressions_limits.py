"""Hostile expressions: bounded in depth, length, elements, memory and time, here and in a child process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from holdfast.errors import InvalidInput
from holdfast.spec import cel_child
from holdfast.spec.expressions import (
    MAX_EXPRESSION_CHARS,
    TooCostly,
    compile,
    evaluate_anywhere,
    evaluate_in_child,
)

HOSTILE: dict[str, str] = {
    "brackets": "(" * 8_000 + "1" + ")" * 8_000,
    "lists": "[" * 16_000,
    "maps": "{1:" * 5_000,
    "sum": "1" + "+1" * 8_000,
    "fields": "x" + ".a" * 8_000,
    "indexes": "x" + "[0]" * 5_000,
    "branches": "true ? 1 : " * 1_400 + "1",
    "macros": "x.map(a, " * 1_700,
    "calls": "size(" * 3_000,
    "digits": "9" * 16_000,
    "exponent": "1e" + "9" * 16_000,
    "quotes": "'" * 16_001,
    "escapes": "'" + "\\\\" * 8_000,
    "too long": " " * MAX_EXPRESSION_CHARS + "1 1",
    "64 KiB": "x" * 65_536,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_answered_at_once(name: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidInput) as caught:
        compile(HOSTILE[name]).evaluate({"x": [1]})
    assert len(caught.value.message) < 1_000
    assert time.process_time() - started < 1


def test_long_chains_of_signs_and_conditions_work() -> None:
    assert compile("-" * 16_000 + "1").evaluate({}) == 1
    assert compile("!" * 16_001 + "true").evaluate({}) is False
    assert compile(" || ".join(["x == 1"] * 1_600)).evaluate({"x": 2}) is False


def test_a_cheap_expression_is_for_the_workflow() -> None:
    cost = compile("size(rows) > 0").cost({"rows": list(range(5_000))})
    assert (cost.elements, cost.needs_child) == (0, False)
    cost = compile("rows.filter(r, r > 1)").cost({"rows": list(range(1_000))})
    assert (cost.elements, cost.needs_child) == (1_000, False)


def test_many_elements_or_bytes_need_a_child() -> None:
    assert compile("rows.filter(r, r > 1)").cost({"rows": list(range(1_001))}).needs_child
    assert compile("rows.map(r, rows.map(s, r * s))").cost({"rows": list(range(40))}).elements == 1_640
    assert compile("x + 'a'").cost({"x": "a" * 70_000}).needs_child


def test_the_cost_follows_nested_data() -> None:
    orders = [{"items": [1] * 10}, {"items": [1] * 30}]
    assert compile("orders.map(o, o.items.map(i, i))").cost({"orders": orders}).elements == 2 + 2 * 30
    filtered = compile("orders.filter(o, true).map(o, o.items.exists(i, i > 0))")
    assert filtered.cost({"orders": orders}).elements == 2 + 2 + 2 * 30
    assert compile("(a + a).map(x, x)").cost({"a": [1, 2]}).elements == 4


def test_a_long_body_counts_more_than_once() -> None:
    body = " && ".join(["r > 1"] * 100)
    assert compile(f"rows.all(r, {body})").cost({"rows": [1] * 10}).elements > 30


def test_more_than_a_million_elements_are_refused_with_the_number() -> None:
    rows = list(range(1_001))
    with pytest.raises(TooCostly, match="would visit 1,003,002 elements; 1,000,000 are allowed"):
        compile("rows.map(r, rows.map(s, r * s))").cost({"rows": rows})
    nested = "rows.map(a, " * 12 + "1" + ")" * 12
    with pytest.raises(TooCostly, match=r"more than 10\^18 elements"):
        compile(nested).cost({"rows": rows})


def test_the_limit_holds_while_evaluating_too() -> None:
    with pytest.raises(TooCostly, match="more than the 1,000 elements"):
        compile("rows.map(r, r)").evaluate({"rows": list(range(1_001))})


DOUBLING = "[x]" + ".map(a, [a, a])" * 60
"""Sixty elements in all, but a result of 2^60."""

BOMBS = {
    "doubled result": DOUBLING,
    "doubled comparison": f"{DOUBLING} == {DOUBLING}",
    "doubled string": "['" + "a" * 1_000 + "']" + ".map(a, a + a)" * 60,
    "doubled list": "[[1, 2, 3]]" + ".map(a, a + a)" * 60,
    "long strings": "rows.map(r, text + text).size()",
    "products": "rows.filter(r, r in rows && rows == rows && r in rows)",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_within_the_time_of_a_workflow_task(name: str) -> None:
    values: dict[str, Any] = {"x": 1, "rows": list(range(1_000)), "text": "a" * 60_000}
    started = time.process_time()
    with pytest.raises(TooCostly, match="more data"):
        compile(BOMBS[name]).evaluate(values)
    assert time.process_time() - started < 2


def test_a_catastrophic_pattern_takes_linear_time() -> None:
    started = time.process_time()
    assert compile("x.matches('^(a+)+$')").evaluate({"x": "a" * 50_000 + "b"}) is False
    with pytest.raises(InvalidInput, match="size limit"):
        compile("x.matches('(a{1000}){1000}')").evaluate({"x": "a"})
    with pytest.raises(InvalidInput, match="more than 1,000 characters"):
        compile("'a'.matches(x)").evaluate({"x": "a" * 1_001})
    assert time.process_time() - started < 1


def test_a_child_evaluates_what_is_too_much_here() -> None:
    rows = list(range(100_000))
    expression = compile("rows.filter(r, r % 2 == 0)")
    assert expression.cost({"rows": rows}).needs_child
    assert evaluate_in_child(expression.text, {"rows": rows, "other": 1}) == rows[::2]
    assert evaluate_anywhere(expression, {"rows": rows}) == rows[::2]
    assert evaluate_anywhere(compile("size(rows)"), {"rows": rows}) == len(rows)


def test_a_child_is_used_again() -> None:
    evaluate_in_child("1", {})
    before = [child.process.pid for child in cel_child._pool.idle]
    evaluate_in_child("2", {})
    assert [child.process.pid for child in cel_child._pool.idle] == before


def test_a_child_gives_the_errors_of_the_expression() -> None:
    with pytest.raises(InvalidInput, match="divides by zero") as caught:
        evaluate_in_child("x / 0", {"x": 1})
    assert caught.value.details == {"expression": "x / 0", "position": 2}
    with pytest.raises(InvalidInput, match="no 'y' here"):
        evaluate_in_child("y", {"x": 1})
    with pytest.raises(TooCostly, match="more than the 1,000,000 elements"):
        evaluate_in_child("x.map(a, x.map(b, 1)).size()", {"x": [1] * 1_001})


def test_a_late_child_is_killed_and_the_next_call_works() -> None:
    evaluate_in_child("1", {})
    children = [child.process for child in cel_child._pool.idle]
    started = time.perf_counter()
    with pytest.raises(TooCostly, match=r"not ready after 0\.5 s"):
        evaluate_in_child("x.filter(i, i in x)", {"x": list(range(200_000))}, timedelta(seconds=0.5))
    assert time.perf_counter() - started < 5
    assert any(child.poll() is not None for child in children)
    assert evaluate_in_child("1 + 1", {}) == 2


def test_a_child_that_died_is_replaced() -> None:
    evaluate_in_child("1", {})
    for child in cel_child._pool.idle:
        child.process.kill()
        child.process.wait()
    assert evaluate_in_child("1 + 1", {}) == 2


def run_in_threads(count: int, call: Callable[[int], Any]) -> list[Any]:
    results: list[Any] = [None] * count

    def run(index: int) -> None:
        results[index] = call(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_threads_share_the_children() -> None:
    results = run_in_threads(6, lambda index: evaluate_in_child(f"x + {index}", {"x": index}))
    assert results == [2 * index for index in range(6)]
    assert len(cel_child._pool.idle) <= cel_child.MAX_IDLE


def test_a_child_ends_when_nobody_asks_any_more() -> None:
    evaluate_in_child("1", {})
    child = cel_child._pool.idle.pop()
    child.requests.close()
    assert child.process.wait(10) == 0
    child.answers.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child.process.pid, 0)
