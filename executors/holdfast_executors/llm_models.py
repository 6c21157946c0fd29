"""What the llm executor takes and gives."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, JsonValue

from holdfast.authoring.next_call import TOOLS, NextCall

OPENAI: Final = "https://api.openai.com/v1"

OWN_PARAMS: Final = frozenset(
    {"model", "messages", "input", "instructions", "stream", "background", "tools", "functions"}
)
"""Fields of the API that have a field of their own here."""

Rung = Literal["json_schema", "tool", "json_object", "text"]
"""How typed output is asked for, from the surest to the loosest."""


class LlmToolCall(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """The model asks for a tool."""

    id: str
    """What the tool's result refers to."""

    name: str
    """The tool's name."""

    arguments: str
    """The arguments as the model wrote them: JSON, if it did well."""


class LlmPart(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """A part of a message: text or an image."""

    text: str | None = None
    """Text."""

    image: str | None = None
    """An image: an `https:` or `http:` address that the endpoint reads, or a `data:` URL."""


class LlmMessage(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    """Who says it."""

    content: str | list[LlmPart] = ""
    """What is said."""

    tool_calls: list[LlmToolCall] = Field(default_factory=list[LlmToolCall])
    """Of an assistant: the tools that it asked for."""

    tool_call_id: str | None = None
    """Of a tool: which call this is the result of."""


class LlmTool(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """A function that the model may ask for. It is not called here: the output says what the model asked for."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    """Its name."""

    description: str = ""
    """What it does, for the model."""

    parameters: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """A JSON Schema of its arguments, which are an object."""


class LlmNodeTool(LlmTool, extra="forbid", use_attribute_docstrings=True):
    """A step or an executor that the model may use, or a function that it may only ask for."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    """What the model calls it. Default: the name of the step, or the type of the executor."""

    step: Annotated[str, Field(min_length=1)] | None = None
    """A step, whose arguments the model writes."""

    executor: Annotated[str, Field(min_length=1)] | None = None
    """An executor."""

    takes: list[str] = Field(default_factory=list[str])
    """Of an executor: the fields of its config that the model writes. Name only those it needs."""

    config: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Of an executor: the other fields, as in a node of that type."""


class LlmPrice(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """What a model costs, in US dollars for a million tokens."""

    input_usd: Annotated[float, Field(ge=0)]
    """Tokens of requests."""

    output_usd: Annotated[float, Field(ge=0)]
    """Tokens of answers, reasoning included."""

    cached_input_usd: Annotated[float, Field(ge=0)] | None = None
    """Tokens of requests that came from the provider's cache. Default: as `input_usd`."""


class LlmConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """Give a `prompt`, or `messages`, or both: the prompt then is the last message."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    """The model, as the endpoint names it."""

    prompt: str | None = None
    """What the user says."""

    system: str | None = None
    """What comes before everything else: how to behave."""

    messages: list[LlmMessage] = Field(default_factory=list[LlmMessage])
    """A whole conversation."""

    images: list[str] = Field(default_factory=list[str])
    """Images that go with the prompt: addresses that the endpoint reads, or `data:` URLs."""

    base_url: Annotated[str, Field(pattern=r"^https?://", max_length=2000)] = OPENAI
    """The endpoint, up to and including its `/v1`."""

    api_key_secret: str | None = None
    """The name of the secret that holds the API key. Default: `OPENAI_API_KEY` for OpenAI's own endpoint, no key for
    any other."""

    api: Literal["chat", "responses"] = "chat"
    """Which API of the endpoint to use."""

    params: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Further fields of the request, as the API names them: `temperature`, `max_completion_tokens`, `seed`, ..."""

    output: dict[str, JsonValue] | None = None
    """A JSON Schema. The answer then is a value that fits it, checked here."""

    tools: list[LlmNodeTool] = Field(default_factory=list[LlmNodeTool], json_schema_extra=TOOLS)
    """Steps and executors that the model may use in a DAG, or functions that it may ask for."""

    max_turns: Annotated[int, Field(ge=1, le=1000)] = 10
    """How often the model is asked at most, where it uses tools."""

    fallbacks: Annotated[list[str], Field(max_length=10)] = Field(default_factory=list[str])
    """Models of the same endpoint to ask, in this order, while the one before is not there, is busy or fails."""

    prices: dict[str, LlmPrice] = Field(default_factory=dict[str, LlmPrice])
    """What models cost, by name. Without a price, a call's cost is unknown: null."""

    stream: bool = False
    """Whether to receive the answer as a stream, and to publish its pieces."""

    background: bool = False
    """Whether the endpoint works without a connection; the answer is fetched by its id, also by a later attempt. Only
    with the Responses API."""

    seconds: Annotated[float, Field(gt=0, le=3600)] = 110
    """How long one request may take, in seconds."""


class LlmUsage(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """Tokens."""

    input_tokens: int = 0
    """Of requests, cached ones included."""

    output_tokens: int = 0
    """Of answers, reasoning included."""

    cached_tokens: int = 0
    """How many tokens of requests came from the provider's cache."""

    reasoning_tokens: int = 0
    """How many tokens of answers were the model's own thoughts."""

    @property
    def total_tokens(self) -> int:
        """In and out."""
        return self.input_tokens + self.output_tokens


class LlmOutput(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """An answer."""

    text: str
    """What the model said."""

    data: JsonValue = None
    """The value that fits `output`; null without `output`."""

    model: str
    """The model that was asked."""

    finish_reason: str
    """Why the answer ended: `stop`, `length`, `tool_calls`."""

    tool_calls: list[LlmToolCall] = Field(default_factory=list[LlmToolCall])
    """The tools that the model asks for."""

    rung: Rung | None = None
    """How the typed output was asked for."""

    asks_count: int = 1
    """How many answers it took: 1, and one more for each that did not fit."""

    usage: LlmUsage | None = None
    """The tokens of all answers; null when the endpoint does not tell."""

    cost_usd: float | None = None
    """What all answers cost; null when the price or the tokens are not known."""

    response_id: str = ""
    """What the endpoint calls the answer."""

    said: list[LlmMessage] = Field(default_factory=list[LlmMessage])
    """Where the model may use tools of a DAG: what was said after the prompt, the results of tools included."""

    next: NextCall | None = Field(default=None, exclude=True)
    """The next turn, and the calls of tools before it. Not part of the output."""


class Reply(BaseModel):
    """One answer as it came, in one form for both APIs."""

    text: str = ""
    refusal: str | None = None
    finish_reason: str
    tool_calls: list[LlmToolCall] = Field(default_factory=list[LlmToolCall])
    usage: LlmUsage | None = None
    response_id: str = ""


Body = dict[str, Any]
"""The JSON of a request."""
