"""What the llm executor refuses, and the contract of executors."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from holdfast import Client, RunFailed, Worker
from holdfast.authoring.dag import Dag
from holdfast.testing import ContractCheck, FakeLLM, executor_contract
from holdfast.testing.llm_answers import LLMAnswer
from holdfast_executors import llm
from holdfast_executors.llm_executor import Llm
from holdfast_executors.llm_request import problems_of

from .llm_attempts import asking, refused

PNG = "data:image/png;base64,iVBORw0KGgo="
KEY = "sk-canary-7h3qu1ckbrownf0x"

GOOD_SHAPE = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "prompt: there is none: give a prompt, or messages"),
    ({"prompt": ""}, "prompt: it is empty"),
    ({"prompt": " \n\t\u00a0"}, "prompt: it is empty, or only whitespace"),
    ({"prompt": "", "system": "Be kind."}, "prompt: it is empty"),
    ({"messages": [{"role": "user", "content": " "}]}, "messages: they are empty"),
    ({"messages": [{"role": "user", "content": [{"text": "\n"}]}], "prompt": " "}, "prompt: it is empty"),
    ({"images": ["file:///etc/passwd"]}, "images"),
    ({"background": True}, "background"),
    ({"params": {"stream": True}}, "params"),
    ({"params": {"n": 2}}, "one answer"),
    ({"output": {"type": "nothing"}}, "no JSON Schema"),
    ({"output": GOOD_SHAPE, "params": {"response_format": {}}}, "response_format"),
    ({"messages": [{"role": "tool", "content": "4"}]}, "tool_call_id"),
    ({"tools": [{"name": "a"}, {"name": "a"}]}, "same name"),
]


@pytest.mark.parametrize(("config", "says"), BAD)
async def test_a_config_that_cannot_work_is_refused_before_anything_is_sent(
    config: dict[str, Any], says: str
) -> None:
    with FakeLLM() as fake:
        assert says in await refused(asking(fake, **config))
        assert fake.requests == []


@pytest.mark.parametrize(
    "config",
    [
        {"prompt": "Hi", "images": [PNG]},
        {"prompt": "", "images": [PNG]},
        {"messages": [{"role": "user", "content": [{"image": PNG}]}]},
        {"messages": [{"role": "user", "content": "Hi"}], "prompt": " "},
        {"messages": [{"role": "system", "content": "Tell a story."}]},
    ],
)
def test_a_good_config_has_no_problems(config: dict[str, Any]) -> None:
    assert problems_of(llm.LlmConfig.model_validate({"model": "m", **config})) == []


async def test_a_prompt_that_is_empty_once_it_is_rendered_is_refused_before_anything_is_sent(
    holdfast_client: Client,
) -> None:
    with FakeLLM() as fake:
        dag = Dag("llm_empty")
        dag.node("text", executor="transform", config={"template": " "})
        config = {"model": "m", "prompt": "{{ text }}", "base_url": fake.base_url}
        dag.node("sum", executor="llm", config=config, depends_on=["text"])
        async with Worker(holdfast_client, []):
            with pytest.raises(RunFailed, match="prompt: it is empty"):
                await holdfast_client.run(dag, None)
        assert fake.requests == []


CONTRACT = FakeLLM(api_key=KEY)


@pytest.fixture(scope="module", autouse=True)
def _end_the_endpoint_of_the_contract() -> Iterator[None]:
    yield
    CONTRACT.__exit__(None, None, None)


def contract() -> list[ContractCheck]:
    fake = CONTRACT.__enter__()  # the checks name its port
    fake.rule("slowly", LLMAnswer("late", latency=timedelta(seconds=5)))

    def case(**config: Any) -> dict[str, Any]:
        return asking(fake, api_key_secret="LLM_KEY", **config)

    return executor_contract(
        Llm,
        good=[
            case(),
            case(api="responses", output=GOOD_SHAPE),
            case(stream=True, images=[PNG]),
            case(api="responses", background=True),
        ],
        bad=[case(**config) for config, _ in BAD]
        + [
            case(model=""),
            case(base_url="ftp://example.com"),
            case(base_url="http://me:word@127.0.0.1:1/v1"),
            case(seconds=0),
            case(colour="red"),
        ],
        slow=case(prompt="slowly"),
        secrets={"LLM_KEY": KEY},
    )


@pytest.mark.parametrize("check", contract(), ids=str)
def test_contract(check: ContractCheck) -> None:
    check()


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)

    async def ask() -> None:
        with FakeLLM() as fake:
            said = await refused(asking(fake))
        assert "pip install 'holdfast[llm]'" in said
        assert "openai" in said

    asyncio.run(ask())
