"""Language models in code: `await llm.ask(...)` is a durable step inside a workflow, and a plain call elsewhere.

```python
from holdfast_executors import llm

@workflow
async def triage(mail: str) -> str:
    ticket = await llm.ask_for(Ticket, f"What does this mail want?\n\n{mail}", model="gpt-5-mini")
    done = await llm.run_tools(f"Solve this: {ticket.title}", model="gpt-5", tools=[look_up_order, refund])
    return done.text
```
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypedDict, TypeVar

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import to_json, to_jsonable_python
from typing_extensions import Unpack

from holdfast import Executor, InvalidInput, Ref, RetryPolicy, Step
from holdfast.misfit import invalid
from holdfast_executors.llm_executor import MAX_REASKS
from holdfast_executors.llm_executor import Llm as Llm
from holdfast_executors.llm_models import LlmConfig as LlmConfig
from holdfast_executors.llm_models import LlmMessage as LlmMessage
from holdfast_executors.llm_models import LlmOutput as LlmOutput
from holdfast_executors.llm_models import LlmPart as LlmPart
from holdfast_executors.llm_models import LlmPrice as LlmPrice
from holdfast_executors.llm_models import LlmToolCall as LlmToolCall
from holdfast_executors.llm_models import LlmUsage as LlmUsage
from holdfast_executors.llm_request import conversation
from holdfast_executors.llm_stream import TokenPiece as TokenPiece
from holdfast_executors.llm_stream import token_sink as token_sink
from holdfast_executors.llm_tools import Tool as Tool
from holdfast_executors.llm_tools import by_name, executor_tool, problems_in, step_tool
from holdfast_executors.llm_turns import ToolRun as ToolRun
from holdfast_executors.llm_turns import ToolUse as ToolUse
from holdfast_executors.llm_turns import following, run_turns

T = TypeVar("T")


class CallOptions(TypedDict, total=False):
    """How each step runs; see `StepOptions`."""

    timeout: timedelta
    retry: RetryPolicy | str
    queue: str
    priority: int
    summary: str


class ModelOptions(CallOptions, total=False):
    """What every call may set; see `LlmConfig`."""

    system: str
    messages: Sequence[LlmMessage]
    images: Sequence[str]
    base_url: str
    api_key_secret: str
    api: Literal["chat", "responses"]
    params: Mapping[str, JsonValue]
    fallbacks: Sequence[str]
    prices: Mapping[str, LlmPrice]
    stream: bool
    background: bool
    seconds: float


class AskOptions(ModelOptions, total=False):
    """As `ModelOptions`, and the JSON Schema that the answer must fit."""

    output: Mapping[str, JsonValue]


async def ask(prompt: str | None = None, *, model: str, **options: Unpack[AskOptions]) -> LlmOutput:
    """Ask a model.

    Args:
        prompt: What the user says; it follows on `messages`, if there are any.
        model: As the endpoint names it.
        **options: See `AskOptions`.

    Raises:
        StepFailed: In a workflow: the attempts are used up, or the endpoint refuses it.
        InvalidInput: The options do not fit together.
    """
    config, call = _split(prompt, model, options)
    return await _answer(call, config)


async def ask_for(
    shape: type[T], prompt: str | None = None, *, model: str, **options: Unpack[ModelOptions]
) -> T:
    """Ask a model for a value of a type: a pydantic model, a dataclass, `list[str]`.

    An answer that does not fit is asked for again, at most twice, with what is wrong with it; what only the type itself
    can check, such as a validator, counts too.

    Args:
        shape: The type.
        prompt: What the user says.
        model: As the endpoint names it.
        **options: See `ModelOptions`.

    Raises:
        StepFailed: In a workflow: the attempts are used up, or no answer fits.
        InvalidInput: No answer passes the type's own validators.
    """
    adapter: TypeAdapter[T] = TypeAdapter(shape)
    config, call = _split(prompt, model, {**options, "output": adapter.json_schema()})
    problems = ""
    for _ in range(1 + MAX_REASKS):
        answer = await _answer(call, config)
        try:
            return adapter.validate_json(to_json(answer.data))
        except ValidationError as error:
            problems = problems_in(error)
        config = following(
            config,
            [
                *conversation(config),
                LlmMessage(role="assistant", content=answer.text or to_json(answer.data).decode()),
                LlmMessage(role="user", content=f"This does not fit: {problems}. Mend it."),
            ],
        )
    raise InvalidInput(f"{model} gave no {adapter!r}, asked {1 + MAX_REASKS} times: {problems}")


def tool(
    target: Step[..., Any] | type[Executor[Any, Any]],
    *,
    takes: Sequence[str] = (),
    config: Mapping[str, object] | None = None,
    name: str | None = None,
    description: str | None = None,
) -> Tool:
    """Something that a model may ask for in `run_tools`. A step needs this only for another name or description.

    Args:
        target: A step, whose arguments the model writes, or an executor.
        takes: Of an executor: the fields of its config that the model writes. Name only those it needs: a model that
            may write all of them chooses where secrets go.
        config: Of an executor: the other fields.
        name: What the model calls it. Default: the step's name, or the executor's type.
        description: What the model is told. Default: the first paragraph of the docstring.

    Raises:
        InvalidInput: The fields are not those of the executor.
    """
    if isinstance(target, Step):
        if takes or config:
            raise InvalidInput(f"tool({target!r}): takes and config are for executors; a step has arguments")
        return step_tool(target, name=name, description=description)
    return executor_tool(target, takes=takes, config=config or {}, name=name, description=description)


async def run_tools(
    prompt: str | None = None,
    *,
    model: str,
    tools: Sequence[Step[..., Any] | Tool],
    max_turns: int = 10,
    **options: Unpack[AskOptions],
) -> ToolRun:
    """Ask a model that may use tools, until it answers without asking for any.

    In a workflow each turn and each call of a tool is a step of its own: after a crash, those that are done are not
    done again. Tools that the model asks for at once run side by side. An unknown tool, arguments that do not fit and a
    tool that fails are told to the model, which may do better.

    Args:
        prompt: What the user says.
        model: As the endpoint names it.
        tools: Steps, and what `tool(...)` made.
        max_turns: How often the model is asked at most.
        **options: See `AskOptions`; with `output`, the last answer has that shape.

    Raises:
        InvalidInput: The model still asks for tools after so many turns.
        StepFailed: In a workflow: the model cannot be asked.
    """
    known = by_name([tool(one) if isinstance(one, Step) else one for one in tools])
    config, call = _split(
        prompt, model, {**options, "tools": [one.told.model_dump(mode="json") for one in known.values()]}
    )
    return await run_turns(config, functools.partial(_answer, call), known, max_turns)


async def _answer(call: CallOptions, config: LlmConfig) -> LlmOutput:
    answer = await Llm.call(config, **call)
    if isinstance(answer, Ref):
        raise InvalidInput(f"the answer has {answer.size_bytes} bytes, more than a run looks at")
    return answer


def _split(prompt: str | None, model: str, options: Mapping[str, Any]) -> tuple[LlmConfig, CallOptions]:
    """The config that options make, and what is said of the steps."""
    of_step: Any = {name: value for name, value in options.items() if name in CallOptions.__annotations__}
    of_model = {name: value for name, value in options.items() if name not in of_step}
    config = {"model": model, "prompt": prompt, **of_model}
    try:
        return LlmConfig.model_validate(config), of_step
    except ValidationError as error:
        given, schema = to_jsonable_python(config, fallback=repr), LlmConfig.model_json_schema()
        raise invalid(error, "The call of a language model", schema=schema, value=given) from None
