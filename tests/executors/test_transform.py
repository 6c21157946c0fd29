"""`transform`: templates, CEL and jq."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from holdfast import Client, Dag, InvalidInput, RunFailed, Worker, workflow
from holdfast.authoring.catalogue import validate_here
from holdfast.spec.document import load_value
from holdfast.testing import ContractCheck, ExecutorCase, executor_contract
from holdfast_executors.transform import Transform, cel, jq

ROWS = {"rows": [{"name": "ada", "price": 3}, {"name": "bob", "price": 4}]}
FOREVER = "def f: f; f"

CHECKS = executor_contract(
    Transform,
    good=[
        {"template": {"a": [1, "two", None]}},
        {"template": "key {{ secrets.KEY }}"},
        {"template": None},
        ExecutorCase({"passthrough": True}, ROWS),
        ExecutorCase({"mapping": {"first": "input.rows[0].name", "count": "size(input.rows)"}}, ROWS),
        ExecutorCase({"expression": "input.rows.map(row, row.price * 2)"}, ROWS),
        {"expression": "input + more", "data": 1, "variables": {"more": 2}},
        ExecutorCase({"jq": "[.rows[] | select(.name == $who)]", "variables": {"who": "bob"}}, ROWS),
        ExecutorCase({"jq": ".rows[].name", "outputs": "list"}, ROWS),
    ],
    bad=[
        {},
        {"template": 1, "expression": "1"},
        {"template": 1, "data": 2},
        {"passthrough": True, "seconds": 1},
        {"mapping": {}},
        {"mapping": {"a": "input.a", "b": "1 +"}},
        {"mapping": {"a": "input.missing"}, "data": {}},
        {"mapping": {"a": "().__class__"}},
        {"expression": "1 +"},
        {"expression": "unknown + 1"},
        {"expression": "input.missing", "data": {}},
        {"jq": ".["},
        {"jq": ".[]", "data": [1, 2]},
        {"jq": "empty"},
        {"jq": 'error("no")'},
        {"jq": ". as {$x} ?// $x | $y"},
        {"jq": 'import "x" as x; .'},
        {"jq": '# first\n include "x"; .'},
        {"jq": '"a" | modulemeta'},
        {"jq": '.[] | select(.name == "{{ input.who }}")'},
        {"mapping": {"a": "{{ input.a }}"}},
        {"jq": ".", "variables": {"ENV": 1}},
        {"jq": ".", "seconds": 1000},
    ],
    slow={"jq": FOREVER, "seconds": 60},
    secrets={"KEY": "s3cr3t-value"},
)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_it_keeps_the_contract(check: ContractCheck) -> None:
    check()


@pytest.mark.parametrize(
    ("config", "input", "output"),
    [
        ({"template": {"a": ["x", 1]}}, None, {"a": ["x", 1]}),
        ({"expression": "input.rows.filter(row, row.price > 3)[0].name"}, ROWS, "bob"),
        ({"expression": "input", "data": None}, 7, None),
        (
            {
                "mapping": {"who": "input.rows[0].name", "n": "size(input.rows) + more"},
                "variables": {"more": 1},
            },
            ROWS,
            {"who": "ada", "n": 3},
        ),
        ({"passthrough": True}, [1, None], [1, None]),
        ({"passthrough": True, "data": "mine"}, ROWS, "mine"),
        ({"jq": "[.rows[].price] | add"}, ROWS, 7),
        ({"jq": ".rows[].price", "outputs": "list"}, ROWS, [3, 4]),
        ({"jq": ".", "data": None}, 7, None),
        ({"jq": "$a + $b", "variables": {"a": "x", "b": '" | error'}}, None, 'x" | error'),
    ],
)
async def test_what_it_gives(config: dict[str, Any], input: object, output: object) -> None:
    assert await Transform.call(config, input=input) == output


@pytest.mark.parametrize("program", ["env", "$ENV"])
async def test_a_program_does_not_see_the_environment(program: str) -> None:
    assert os.environ
    seen = await jq(program, None)
    assert isinstance(seen, dict)
    assert not {"PATH", "HOME"} & seen.keys()


async def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(InvalidInput, match=r"was not ready after 0\.5 s"):
        await Transform.call({"jq": FOREVER, "seconds": 0.5})


async def test_the_start_of_its_process_is_no_part_of_a_programs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "import time\ntime.sleep(2)\nclass Program:\n    def input_text(self, text): yield 7\n"
    (tmp_path / "jq.py").write_text(f"{slow}def compile(*_, **__): return Program()\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]
    assert await Transform.call({"jq": ".", "seconds": 1.5}) == 7


async def test_a_program_whose_output_nests_too_deep_is_told_so() -> None:
    with pytest.raises(InvalidInput, match="its output nests too deep for JSON"):
        await jq("reduce range(20000) as $i (null; [.])", None)


async def test_a_program_that_fills_the_memory_is_ended() -> None:
    with pytest.raises(InvalidInput, match="memory"):
        await Transform.call({"jq": 'reduce range(60) as $n ("x"; . + .)', "seconds": 60})


async def test_a_program_of_a_document_with_a_template_is_refused_before_the_start() -> None:
    node = {"id": "a", "type": "transform", "config": {"jq": ".[{{ input.index }}]", "data": [1]}}
    [found] = validate_here(load_value({"name": "x", "nodes": [node]}))
    assert (found.code, found.path) == ("HF-D031", "nodes[0].config")
    assert "jq: this is code, and a template would make code of values" in found.message


async def test_a_program_in_code_is_taken_as_it_is() -> None:
    assert await jq('"{{ input }}"', None) == "{{ input }}"


@workflow
async def prices(rows: dict[str, Any]) -> list[Any]:
    return [
        await jq("[.rows[].price]", rows),
        await cel("size(input.rows) > few", rows, variables={"few": 1}),
    ]


@workflow
async def wrong(rows: dict[str, Any]) -> Any:
    return await jq(".rows[]", rows)


async def test_in_a_workflow_its_functions_are_steps(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [prices, wrong]):
        run = await holdfast_client.start(prices, ROWS)
        assert await run.result() == [[3, 4], True]
        assert [step.name for step in (await run.describe()).steps] == ["executor:transform"] * 2
        with pytest.raises(RunFailed, match="gave 2 outputs: make it give one, or set outputs: list"):
            await holdfast_client.run(wrong, ROWS)


async def test_local_nodes_run_inside_the_run(holdfast_client: Client) -> None:
    dag = Dag("local_transforms", output="last")
    dag.node("first", executor="transform", config={"template": {"n": "{{ input }}"}}, local=True)
    mapping = {"n": "input.first.n + 1", "names": "['a', 'b'].map(name, name + '!')"}
    dag.node("second", executor="transform", config={"mapping": mapping}, local=True, depends_on=["first"])
    dag.node("last", executor="transform", config={"jq": ".second.n"}, local=True, depends_on=["second"])
    async with Worker(holdfast_client, []):
        run = await holdfast_client.start(dag, 1)
        assert await run.result() == 2
    events = (await run.history()).events
    assert not any(event.HasField("activity_task_scheduled_event_attributes") for event in events)
    assert any(event.HasField("marker_recorded_event_attributes") for event in events), "of jq"


async def test_a_costly_expression_is_evaluated_elsewhere_and_gives_the_same() -> None:
    rows = list(range(3_000))
    assert await cel("input.map(n, n * 2)", rows) == [n * 2 for n in rows]
    mapped = await Transform.call({"mapping": {"size": "size(input.filter(n, n % 2 == 0))"}}, input=rows)
    assert mapped == {"size": 1_500}


async def test_the_process_of_a_program_imports_nothing_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tells = "import sys\nclass Program:\n    def input_text(self, text): yield sorted(sys.modules)\n"
    (tmp_path / "jq.py").write_text(f"{tells}def compile(*_, **__): return Program()\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]
    loaded = await jq(".", None)
    assert isinstance(loaded, list)
    assert "json" in loaded
    assert not {"holdfast", "holdfast_executors", "pydantic", "temporalio", "httpx"} & {*map(str, loaded)}
