"""What endpoints say about requests that they refuse, in the dialects of several, and what comes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.testing import FakeLLM, LLMFault
from holdfast_executors.llm_complaint import SAID_CHARS, complaint

from .llm_attempts import asking, output, refused

SUM: dict[str, Any] = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}},
    "required": ["sum"],
    "additionalProperties": False,
}
KEY = "sk-canary-7h3qu1ckbrownf0x"


def raw(status: int, body: object, kind: str = "application/json") -> LLMFault:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return LLMFault(status=status, body=data, headers={"content-type": kind})


def fastapi(status: int, *path: str) -> LLMFault:
    echoed = {"model": "m", "response_format": {"type": "json_schema"}, "tools": "auto"}
    detail = {
        "type": "extra_forbidden",
        "loc": ["body", *path],
        "msg": "Extra inputs are not permitted",
        "input": echoed,
    }
    return raw(status, {"detail": [detail]})


NOT_THE_FORMAT: list[tuple[LLMFault, str]] = [
    (LLMFault.error(400, "Unsupported parameter: 'seed'.", code="unsupported_parameter", param="seed"), "'seed'"),
    (LLMFault.error(400, "'max_tokens' is too large: 900000."), "too large"),
    (LLMFault.error(400, "'tools' in the text, yet it is the temperature.", param="temperature"), "'temperature'"),
    (LLMFault.context_length(), "shorten the prompt"),
    (LLMFault.error(400, "This model's maximum context length is 8192 tokens, you asked for 9000 (8000 in the "
                    "messages, 1000 in the functions)."), "shorten the prompt"),
    (raw(400, {"code": 400, "message": "It is too large.", "type": "exceed_context_size_error"}), "shorten the prompt"),
    (LLMFault.content_filter(), "in other words"),
    (LLMFault.error(400, "Invalid image.", code="invalid_image_url", param="messages[0].content[1].image_url"),
     "`images`"),
    (LLMFault.error(400, "Failed to download the image from https://example.com/a.png."), "`images`"),
    (LLMFault.unauthorised(), "`api_key_secret`"),
    (fastapi(422, "logit_bias"), "logit_bias"),
    (raw(400, "Bad Request", "text/plain"), "Bad Request"),
    (raw(400, ["one", {"of": "those"}]), "those"),
    (raw(400, {"error": {"message": None, "code": ["odd"], "type": 5, "param": {}}}), "400"),
]  # fmt: skip


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(("fault", "says"), NOT_THE_FORMAT)
async def test_a_request_that_is_wrong_in_itself_is_not_sent_in_another_form(
    api: str, fault: LLMFault, says: str
) -> None:
    with FakeLLM(fault, {"sum": 3}) as fake:
        assert says in await refused(asking(fake, api=api, output=SUM, fallbacks=["b"]))
        assert len(fake.requests) == 1


FORMAT: list[LLMFault] = [
    LLMFault.error(400, "Not with this model.", param="response_format"),
    LLMFault.error(400, "Not with this model.", param="text.format"),
    LLMFault.error(400, "Not with this model.", param="response_format.json_schema.strict"),
    LLMFault.error(400, "'response_format' of type 'json_schema' is not supported with this model."),
    LLMFault.error(501, "Structured outputs are not there yet."),
    raw(400, {"error": "json_schema is not supported"}),
    raw(
        400, {"object": "error", "message": "guided decoding is off", "type": "BadRequestError", "code": 400}
    ),
    raw(415, "failed to parse grammar", "text/plain"),
    fastapi(422, "response_format"),
]


@pytest.mark.parametrize("fault", FORMAT)
async def test_a_format_that_is_refused_is_asked_for_in_another_way(fault: LLMFault) -> None:
    with FakeLLM(fault, {"sum": 3}) as fake:
        said = await output(asking(fake, output=SUM))
    assert (said.data, said.rung, said.asks_count) == ({"sum": 3}, "tool", 1)


@pytest.mark.parametrize(
    "tools_fault",
    [
        LLMFault.error(400, "Unsupported parameter.", param="tools"),
        LLMFault.error(400, "Unsupported parameter.", param="tool_choice"),
        LLMFault.error(400, "Invalid schema.", code="invalid_function_parameters", param="tools[0].function"),
        LLMFault.error(400, "This model does not support tools."),
        LLMFault.error(400, "Function calling is off."),
    ],
)  # fmt: skip
async def test_tools_that_are_refused_are_left_where_they_carry_the_answer_and_not_where_they_were_asked_for(
    tools_fault: LLMFault,
) -> None:
    with FakeLLM(FORMAT[0], tools_fault, {"sum": 3}) as fake:
        assert (await output(asking(fake, output=SUM))).rung == "json_object"
    with FakeLLM(tools_fault) as fake:
        await refused(asking(fake, output=SUM, tools=[{"name": "look"}]))
        assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        LLMFault.no_such_model(),
        LLMFault.error(404, "The deployment is not there.", code="DeploymentNotFound"),
        LLMFault.error(404, 'model "a" not found, try pulling it first', kind="api_error"),
        raw(404, {"object": "error", "message": "The model `a` does not exist.", "type": "NotFoundError", "code": 404}),
        LLMFault.error(400, "a is not a valid model ID", param="model"),
    ],
)  # fmt: skip
async def test_a_model_that_is_not_there_gives_way_to_the_next(fault: LLMFault) -> None:
    with FakeLLM(fault, "from b") as fake:
        assert (await output(asking(fake, model="a", fallbacks=["b"]))).model == "b"
    with FakeLLM(fault) as fake:
        assert "/models" in await refused(asking(fake, model="a"))


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_address_that_is_not_there_is_told_with_what_was_asked(api: str, stream: bool) -> None:
    path = "/chat/completions" if api == "chat" else "/responses"
    with FakeLLM() as fake:
        wrong = fake.base_url.removesuffix("/v1") + "/api"
        config = asking(fake, api=api, stream=stream, base_url=wrong, fallbacks=["b"])
        said = await refused(config)
    assert f"POST /api{path} is not there: `base_url` is probably wrong" in said
    assert wrong in said


@pytest.mark.parametrize(
    "fault", [raw(404, "<html>nginx</html>", "text/html"), raw(404, ""), raw(404, {"detail": "Not Found"})]
)
async def test_any_other_404_is_an_address_too(fault: LLMFault) -> None:
    with FakeLLM(fault, "unasked") as fake:
        assert "`base_url` is probably wrong" in await refused(asking(fake, fallbacks=["b"]))
        assert len(fake.requests) == 1


@pytest.mark.parametrize("cut", [0, 10, 490])
async def test_what_an_endpoint_says_is_shown_in_part_and_without_the_key(cut: int) -> None:
    long = "x" * cut + KEY + " y" * 100_000
    with FakeLLM(LLMFault.error(400, long, param="seed"), api_key=KEY) as fake:
        said = await refused(asking(fake, api_key_secret="LLM_KEY"), secrets={"LLM_KEY": KEY})
    assert len(said) < SAID_CHARS + 300
    assert KEY[:9] not in said
    assert cut == 490 or "***" in said


@pytest.mark.parametrize(
    "body", [None, "", [], {}, 5, {"error": {}}, {"detail": [5]}, {"detail": [{"loc": 7}]}]
)
def test_a_body_that_says_nothing_is_read_too(body: object) -> None:
    said = complaint(body, "Error code: 400", 400)
    assert (said.topic, bool(said.message)) == ("other", True)
