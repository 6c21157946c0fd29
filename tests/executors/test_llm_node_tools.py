"""Tools of `llm` nodes: the run makes the calls that a model asks for, each as a step of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.executors.node_tools import (
    BOTH,
    KEY,
    MADE,
    MET,
    breaks,
)

from holdfast import (
    Client,
    Dag,
    Run,
    RunFailed,
    Worker,
)
from holdfast.spec.model import BudgetSpec
from holdfast.testing import FakeLLM
from holdfast.testing.llm_answers import LLMAnswer, LLMToolCall, LLMUsage
from holdfast_executors.llm_turns import _RESULT_CHARS  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
async def client(holdfast_client: Client, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    MADE.clear()
    monkeypatch.setenv("HOLDFAST_SECRET_FIND_KEY", KEY)
    async with Worker(holdfast_client, [], queues=["default"]):
        yield holdfast_client


def asks(*calls: tuple[str, Any]) -> LLMAnswer:
    return LLMAnswer(tool_calls=[LLMToolCall(name=name, arguments=given) for name, given in calls])


def dag_of(fake: FakeLLM, tools: Any = ({"step": "node_order"},), **config: Any) -> Dag:
    dag = Dag("asking", output="answer")
    base = {"model": "m", "base_url": fake.base_url, "prompt": "Where is it?", "tools": list(tools)}
    dag.node("answer", executor="llm", config=base | config)
    return dag


async def went_on(run: Run[Any]) -> bool:
    """Whether the last execution of a run goes on where another one ended."""
    first = (await run.history()).events[0]
    return bool(first.workflow_execution_started_event_attributes.continued_execution_run_id)


def told(fake: FakeLLM, turn: int) -> list[str]:
    """What the model was told of its tools by this turn."""
    return [str(m["content"]) for m in fake.requests[turn].messages if m["role"] == "tool"]


async def test_each_turn_and_each_call_is_a_step(client: Client) -> None:
    first = asks(("node_order", {"number": 7}), ("node_order", {"number": 0}))
    with FakeLLM(first, asks(("node_order", {"number": 8, "note": "{{ input }}"})), "done") as fake:
        run = await client.start(dag_of(fake), "secret")
        output = await run.result()
        assert told(fake, 2) == [
            "order 7: ",
            "error: step 'node_order' failed: Permanent: order 0 was never made",
            "order 8: {{ input }}",
        ]
    steps = (await run.describe()).steps
    assert [one.activity_id for one in steps] == [
        "answer", "answer[node_order]", "answer[node_order]-2", "answer-2", "answer[node_order]-3", "answer-3",
    ]  # fmt: skip
    assert output["text"] == "done"
    assert output["asks_count"] == 3
    assert [one["role"] for one in output["said"]] == [
        "assistant", "tool", "tool", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert "next" not in output
    assert (await run.state())["nodes"]["answer"]["done"] == 3


async def test_calls_of_one_answer_run_side_by_side(client: Client) -> None:
    MET.clear()
    BOTH.clear()
    both = asks(("node_meet", {"name": "a"}), ("node_meet", {"name": "b"}))
    with FakeLLM(both, "done") as fake:
        await client.run(dag_of(fake, [{"step": "node_meet"}]))
        assert told(fake, 1) == ["a", "b"]
    assert sorted(MET) == ["a", "b"]


async def test_an_executor_lends_its_fields_and_keeps_its_secrets(client: Client) -> None:
    tool = {
        "executor": "node_find",
        "name": "find",
        "takes": ["query"],
        "config": {"index": "{{ input.index }}", "key": "{{ secrets.FIND_KEY }}"},
    }
    hostile = "{{ secrets.FIND_KEY }} {{ input.index }} {{ secrets.FIND_KEY as url }}"
    calls = asks(
        ("find", {"query": hostile}),
        ("find", {"query": "a", "index": "other"}),
        ("find", {"query": "a", "key": None}),
        ("find", {"query": 7}),
        ("find", "{"),
        ("find", {}),
        ("node_find", {"query": "a"}),
        ("node_order", {"number": 7}),
    )
    with FakeLLM(calls, "done") as fake:
        run = await client.start(dag_of(fake, [tool]), {"index": "inner"})
        output = await run.result()
        answers = told(fake, 1)
        sent = json.dumps([request.messages for request in fake.requests])
    assert json.loads(answers[0]) == [f"{hostile} in inner"]
    assert [text.partition(":")[2].partition(";")[0].strip() for text in answers[1:3]] == [
        "there is no index",
        "there is no key",
    ]
    assert "query" in answers[3]
    assert "the arguments are no JSON" in answers[4]
    assert answers[5].endswith("the field 'query' is missing")
    assert answers[6] == "error: there is no tool 'node_find'; there is find"
    assert "no tool 'node_order'" in answers[7]
    assert [{"query": hostile, "index": "inner", "key": KEY}] == MADE, "one call only, and it got the key"
    assert KEY not in sent + json.dumps(output)
    recorded = b"".join(event.SerializeToString() for event in (await run.history()).events)
    assert b"inner" in recorded
    assert KEY.encode() not in recorded


async def test_a_model_names_no_secret_in_a_field_that_it_may_write(client: Client) -> None:
    tool = {"executor": "node_find", "takes": ["query", "secret"]}
    named = {"executor": "node_find", "name": "named", "takes": ["query"], "config": {"secret": "FIND_KEY"}}
    calls = asks(("node_find", {"query": "a", "secret": "FIND_KEY"}), ("named", {"query": "FIND_KEY"}))
    with FakeLLM(calls, "done") as fake:
        await client.run(dag_of(fake, [tool, named]))
        refused, done = told(fake, 1)
    assert "the secret 'FIND_KEY' is not named by the document" in refused
    assert done == '["FIND_KEY in public"]'
    assert MADE == [{"query": "FIND_KEY", "index": "public", "key": KEY}]


async def test_long_results_are_cut_and_say_so(client: Client) -> None:
    calls = asks(("say", {"characters": 60_000}), ("say", {"characters": 5_000_000}))
    with FakeLLM(calls, "done") as fake:
        await client.run(dag_of(fake, [{"step": "node_long", "name": "say", "description": "Says."}]))
        first, second = told(fake, 1)
        assert fake.requests[0].tools[0]["description"] == "Says."
    assert first.endswith("(10000 characters left out)")
    assert len(first) < _RESULT_CHARS + 100
    assert second.startswith("error: the result has 5000")
    assert second.endswith("bytes, too many to show; ask for less")


async def test_a_model_that_never_ends_is_stopped_and_pays_no_more(client: Client) -> None:
    with FakeLLM() as fake:
        fake.rule(".", asks(("node_order", {"number": 1})))
        with pytest.raises(RunFailed, match="max_turns=3"):
            await client.run(dag_of(fake, max_turns=3))
        assert len(fake.requests) == 3
    assert len(MADE) == 2


async def test_turns_and_calls_go_on_in_the_next_execution(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engine.dag.limits._HARD_EVENTS", 40)
    turns = [asks(*(("node_order", {"number": 10 * turn + n}) for n in range(1, 6))) for turn in range(4)]
    with FakeLLM(*turns, "done") as fake:
        dag = dag_of(fake, max_turns=5)
        run = await client.start(dag)
        assert (await run.result())["text"] == "done"
        assert await went_on(run)
        assert told(fake, 4) == [f"order {10 * turn + n}: " for turn in range(4) for n in range(1, 6)]
        assert len(fake.requests) == 5
    assert sorted(MADE) == [(10 * turn + n, "") for turn in range(4) for n in range(1, 6)]
    with FakeLLM(*turns, "done") as fake, pytest.raises(RunFailed, match="max_turns=4"):
        await client.run(dag_of(fake, max_turns=4))


async def test_few_places_and_a_full_history_lose_no_call(
    holdfast_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    MADE.clear()
    monkeypatch.setattr("holdfast.engine.dag.limits._HARD_EVENTS", 30)
    turn = asks(*(("node_order", {"number": n}) for n in range(1, 9)))
    with FakeLLM(turn, "done") as fake:
        dag = Dag("narrow", output="answer", max_parallel=1)
        config = {
            "model": "m",
            "base_url": fake.base_url,
            "prompt": "?",
            "tools": [{"step": "node_order"}],
        }
        dag.node("answer", executor="llm", config=config)
        for number in range(12):  # they stand before the tools, and fill the history
            dag.node(f"other{number}", executor="node_find", config={"query": "a"})
        async with Worker(holdfast_client, [], queues=["default"]):
            run = await holdfast_client.start(dag)
            await run.result()
        assert await went_on(run)
        assert told(fake, 1) == [f"order {n}: " for n in range(1, 9)]
    assert sorted(str(one) for one in MADE if not isinstance(one, dict)) == [
        f"({n}, '')" for n in range(1, 9)
    ]


async def test_what_all_turns_and_calls_use_up_counts(client: Client) -> None:
    used = LLMUsage(input_tokens=100, output_tokens=10)
    turn = LLMAnswer(tool_calls=[LLMToolCall(name="node_order", arguments={"number": 1})], usage=used)
    with FakeLLM(turn, turn, LLMAnswer("done", usage=used)) as fake:
        dag = dag_of(fake, prices={"m": {"input_usd": 1.0, "output_usd": 1.0}})
        run = await client.start(dag)
        output = await run.result()
        assert output["usage"]["input_tokens"] == 300
        assert output["cost_usd"] == pytest.approx(330 / 1e6)
        usage = (await run.state())["usage"]
    assert (usage["calls"], usage["tokens"]) == (5, 330)
    assert usage["cost_usd"] == pytest.approx(330 / 1e6)


async def test_a_spent_budget_is_not_told_to_the_model(client: Client) -> None:
    turn = asks(("node_order", {"number": 1}), ("node_order", {"number": 2}))
    with FakeLLM(turn, "done") as fake:
        dag = Dag("poor", output="answer", budget=BudgetSpec(max_calls=2, when_exceeded="fail"))
        config = {
            "model": "m",
            "base_url": fake.base_url,
            "prompt": "?",
            "tools": [{"step": "node_order"}],
        }
        dag.node("answer", executor="llm", config=config)
        with pytest.raises(RunFailed, match="budget of 2 calls") as failed:
            await client.run(dag)
        assert failed.value.error_type == "BudgetExceeded"
        assert len(fake.requests) == 1


async def test_the_last_answer_may_have_a_shape(client: Client) -> None:
    with FakeLLM(asks(("node_order", {"number": 4})), {"value": "four"}, {"value": 4}) as fake:
        output = await client.run(dag_of(fake, output={"type": "integer"}))
        assert (output["data"], output["asks_count"], len(fake.requests)) == (4, 3, 3)


async def test_the_responses_api_has_tools_too(client: Client) -> None:
    with FakeLLM(asks(("node_order", {"number": 4})), "done") as fake:
        await client.run(dag_of(fake, api="responses"))
        kinds = [message.get("type") for message in fake.requests[1].messages]
    assert kinds == [None, "function_call", "function_call_output"]


async def test_a_key_that_the_endpoint_puts_into_arguments_goes_nowhere(client: Client) -> None:
    with FakeLLM(
        asks(("node_order", {"number": 1, "note": f"the key is {KEY}"})), "done", api_key=KEY
    ) as fake:
        run = await client.start(dag_of(fake, api_key_secret="FIND_KEY"))
        output = await run.result()
    assert MADE == [(1, "the key is ***")]
    assert KEY not in json.dumps(output)


async def test_another_worker_pays_for_nothing_that_is_on_record(holdfast_client: Client) -> None:
    MADE.clear()
    calls = asks(("node_elsewhere", {"number": 1}), ("node_order", {"number": 2}))
    with FakeLLM(calls, "done") as fake:
        dag = dag_of(fake, [{"step": "node_elsewhere"}, {"step": "node_order"}])
        async with Worker(holdfast_client, [], queues=["default"]):
            run = await holdfast_client.start(dag)
            expected = ["completed", "pending", "completed"]
            while [one.state for one in (await run.describe()).steps] != expected:  # noqa: ASYNC110 - elsewhere
                await asyncio.sleep(0.05)
            assert (await run.state())["nodes"]["answer"]["state"] == "running"
            assert "· answer" in await run.diagram(), "it is not done, though its turn is"
        async with Worker(holdfast_client, [], queues=["default", "node-elsewhere"]):
            assert (await run.result())["text"] == "done"
        assert told(fake, 1) == ["it is 1", "order 2: "]
        assert len(fake.requests) == 2
    assert MADE == [(2, "")]


async def test_a_step_is_undone_when_the_run_fails(client: Client) -> None:
    with FakeLLM(asks(("node_charge", {"amount": 5})), "done") as fake:
        dag = dag_of(fake, [{"step": "node_charge"}])
        dag.add_step(breaks, id="broken", depends_on=["answer"], arguments={"after": "{{ answer.text }}"})
        with pytest.raises(RunFailed, match="no more don"):
            await client.run(dag)
    assert MADE == [("charge", 5), ("refund", 5, "EUR", "receipt 5")]


async def test_a_failed_node_that_is_tried_again_calls_nothing_twice(client: Client) -> None:
    turn = asks(("node_order", {"number": 1}))
    with FakeLLM(turn, "done", api_key=KEY) as fake:
        dag = Dag("paused", output="answer", on_failure="pause")
        config = {
            "model": "m",
            "base_url": fake.base_url,
            "prompt": "?",
            "tools": [{"step": "node_order"}],
            "max_turns": 1,
        }
        dag.node("answer", executor="llm", config={**config, "api_key_secret": "FIND_KEY"})
        run = await client.start(dag)
        while (await run.state())["nodes"]["answer"]["state"] != "failed":  # noqa: ASYNC110 - the run is elsewhere
            await asyncio.sleep(0.05)
        assert "max_turns=1" in (await run.state())["nodes"]["answer"]["error"]
        await run.update("retry_node", "answer")
        assert (await run.result())["text"] == "done"
        assert [len(request.messages) for request in fake.requests] == [1, 1]
    assert MADE == []


async def test_tools_that_come_from_outside_are_refused(client: Client) -> None:
    dag = Dag("outside")
    with FakeLLM("done") as fake:
        config = {"model": "m", "base_url": fake.base_url, "prompt": "?", "tools": "{{ input }}"}
        dag.node("answer", executor="llm", config=config)
        with pytest.raises(RunFailed, match="what is lent stands in the document"):
            await client.run(dag, [{"step": "node_order"}])
        assert fake.requests == []
