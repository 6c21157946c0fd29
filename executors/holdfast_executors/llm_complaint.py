"""What an endpoint says about a request that it refuses, and what it says it about.

Endpoints agree on little: some name a code and a parameter, some write a sentence, some quote their validation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from holdfast.spec.cel_values import is_list, is_map

SAID_CHARS: Final = 500
"""No more of what an endpoint says is shown."""

Topic = Literal["quota", "model", "context", "filter", "image", "format", "tools", "other"]

_CODES: Final[Mapping[str, Topic]] = {
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "account_deactivated": "quota",
    "model_not_found": "model",
    "invalid_model": "model",
    "DeploymentNotFound": "model",
    "context_length_exceeded": "context",
    "exceed_context_size_error": "context",
    "string_above_max_length": "context",
    "content_filter": "filter",
    "content_policy_violation": "filter",
    "ResponsibleAIPolicyViolation": "filter",
    "invalid_json_schema": "format",
    "invalid_function_parameters": "tools",
}

_PARAMS: Final[tuple[tuple[re.Pattern[str], Topic], ...]] = (
    (re.compile(r"^model$"), "model"),
    (re.compile(r"^(response_format|json_schema|guided_\w+|grammar|text(\.format|$))\b"), "format"),
    (re.compile(r"^(tools|tool_choice|functions|function_call)\b"), "tools"),
    (re.compile(r"\bimage"), "image"),
)

_WORDS: Final[tuple[tuple[re.Pattern[str], Topic], ...]] = (
    (re.compile(r"context (length|window|size)|(prompt|input) is too long|too many tokens", re.I), "context"),
    (re.compile(r"content[ _](filter|management|policy)|safety system", re.I), "filter"),
    (re.compile(r"\bimages?\b|image_url", re.I), "image"),
    (
        re.compile(
            r"response_?format|json[ _]?(schema|object|mode)|text\.format|structured[ _]output|guided|grammar",
            re.I,
        ),
        "format",
    ),
    (re.compile(r"\btools?\b|tool_(choice|call)|\bfunctions?\b|function_call", re.I), "tools"),
)
"""For endpoints that name neither code nor parameter; the first that fits counts: what is too long is often
counted up with its functions."""

_ABSENT_MODEL: Final = re.compile(r"\b(model|deployment)\b", re.I)


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """What an endpoint said.

    Attributes:
        message: In its own words, at most 500 characters.
        code: Its code, or else its type; empty if it names none.
        param: The part of the request that it names; empty if it names none.
        topic: What it is about.
    """

    message: str
    code: str
    param: str
    topic: Topic


def complaint(body: object, otherwise: str, status: int | None = None) -> Complaint:
    """Read the body of an error.

    Args:
        body: The value under `error`, or all of it: of any kind.
        otherwise: The message, if the body says nothing.
        status: The HTTP status: a 404 that speaks of a model says that there is none.
    """
    fields: Mapping[str, Any] = body if is_map(body) else {}
    message, param = _said(body), _text(fields.get("param"))
    detail = fields.get("detail")
    if is_list(detail) and detail and is_map(detail[0]):  # as FastAPI writes it, with the request in `input`
        path: object = detail[0].get("loc")
        param = ".".join(str(part) for part in path if part != "body") if is_list(path) else ""
        message = f"{param}: {_text(detail[0].get('msg'))}"
    code, kind = _text(fields.get("code")), _text(fields.get("type"))
    shown = " ".join((message or otherwise).split())[:SAID_CHARS]
    topic = _CODES.get(code) or _CODES.get(kind) or _topic(message, code, param, status)
    return Complaint(message=shown, code=code or kind, param=param, topic=topic)


def _topic(message: str, code: str, param: str, status: int | None) -> Topic:
    if code == "unknown_url":
        return "other"
    if status == 404 and not param:
        return "model" if _ABSENT_MODEL.search(message) else "other"
    return _first(_PARAMS, param) if param else _first(_WORDS, message)


def _first(table: Sequence[tuple[re.Pattern[str], Topic]], text: str) -> Topic:
    for pattern, topic in table:
        if pattern.search(text):
            return topic
    return "other"


def _said(body: object) -> str:
    """The message in a body; all of the body, where there is none."""
    if isinstance(body, str):
        return body
    if is_map(body):
        for name in ("message", "detail", "error"):
            if said := _text(body.get(name)):
                return said
    return json.dumps(body, ensure_ascii=False) if body else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
