"""A FakeLLM in a process of its own, which no kill of a worker takes along: `python -m tests.faults.llm_endpoint FILE`.

It prints its address. When its standard input ends, it writes what it was asked, and what it answered, to the file.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from holdfast.testing import FakeLLM
from holdfast.testing.llm_answers import LLMAnswer
from holdfast.testing.llm_request import LLMRequest

WORKER = "x-worker"
"""The header in which a worker says which one it is."""

LATENCY = timedelta(milliseconds=100)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    call: str
    """The chain and the number of the call in it."""
    stage: int
    """How many answers came before it in its call."""
    worker: str
    received_at: float
    answered_at: float | None
    """When the answer had been sent, by the system's monotonic clock. None: the worker was gone."""


def answer(request: LLMRequest) -> LLMAnswer:
    """The first answer of a call does not fit, the second one does."""
    return LLMAnswer('{"value": 1}' if _stage(request) else '{"value": "one"}', latency=LATENCY)


def _stage(request: LLMRequest) -> int:
    return sum(message["role"] == "assistant" for message in request.messages)


def asked(request: LLMRequest) -> Asked:
    """What is kept of a request."""
    return Asked(
        call=str(request.messages[0]["content"]),
        stage=_stage(request),
        worker=request.headers[WORKER],
        received_at=request.received_at,
        answered_at=request.answered_at,
    )


if __name__ == "__main__":
    with FakeLLM() as llm:
        llm.rule(".", answer)
        print(llm.base_url, flush=True)
        sys.stdin.read()
        lines = [json.dumps(asdict(asked(request))) for request in llm.requests]
    Path(sys.argv[1]).write_text("\n".join(lines), "utf-8")
