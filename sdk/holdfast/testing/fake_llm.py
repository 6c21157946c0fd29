"""`FakeLLM`: a language model for tests and demos, behind the wire format of OpenAI's API. No model is behind it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Final

from holdfast.errors import InvalidConfiguration
from holdfast.testing.llm_answers import LLMAnswer, LLMFault
from holdfast.testing.llm_http import LLMHandler, LLMServer
from holdfast.testing.llm_limits import Limiter, LLMRateLimit
from holdfast.testing.llm_request import LLMRequest
from holdfast.testing.llm_rules import FEATURES, Answering, Condition, Feature, Rules, refusal
from holdfast.testing.llm_wire_responses import responses_body, responses_open

_POLL_SECONDS: Final = 0.02


class FakeLLM:
    """An endpoint on this machine for `/v1/chat/completions`, `/v1/responses` and `/v1/models`, that answers what it is
    told to. Every client of the API can talk to it: give it `base_url` and any key.

    A request gets the next outcome of the script; when that is empty, the answer of the first rule that fits; else,
    where a JSON Schema or a tool is asked for, a small value that fits, and for text a sentence with the prompt in it.

    Attributes:
        requests: What was asked, in order; requests that were refused are among them.
        polls_count: How often a background response was looked at.

    Args:
        *script: What to answer to the first requests: texts, values that are sent as JSON, `LLMAnswer`s, `LLMFault`s,
            or functions that take the `LLMRequest` and return one of these.
        models: What `/v1/models` lists; other models are not found. Default: every model is there.
        api_key: What callers must send. Default: anything.
        latency: Before the first byte of an answer.
        refuses: What the endpoint answers with an error: `chat`, `responses`, `stream`, `background`, `json_schema`,
            `json_object`, `tools`.
        ignores: Which of `json_schema`, `json_object` and `tools` it takes and does nothing with.
        rate_limit: How many requests it takes; more are answered with 429.
        port: Where to listen, on 127.0.0.1; 0 takes a free port.

    Raises:
        InvalidConfiguration: There is no such feature, or an outcome is none.

    Example:
        ```python
        with FakeLLM("Hello!", LLMFault.rate_limited("2"), {"sum": 3}) as llm:
            client = OpenAI(base_url=llm.base_url, api_key="any")
        ```
    """

    def __init__(
        self,
        *script: Answering,
        models: Sequence[str] | None = None,
        api_key: str | None = None,
        latency: timedelta = timedelta(0),
        refuses: Collection[Feature] = (),
        ignores: Collection[Feature] = (),
        rate_limit: LLMRateLimit | None = None,
        port: int = 0,
    ) -> None:
        for feature in (*refuses, *ignores):
            if feature not in FEATURES:
                raise InvalidConfiguration(f"there is no feature {feature!r}; known: {', '.join(FEATURES)}")
        self.requests: list[LLMRequest] = []
        self.polls_count = 0
        self.models = models
        self.api_key = api_key
        self.latency = latency
        self.refuses = frozenset(refuses)
        self.ignores = frozenset(ignores)
        self.limiter = Limiter(rate_limit) if rate_limit else None
        self.closing = threading.Event()
        self._rules = Rules(script)
        self._port = port
        self._numbers = itertools.count(1)
        self._kept: dict[str, _Kept] = {}
        self._server: LLMServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """What clients take as `base_url`."""
        if self._server is None:
            raise InvalidConfiguration("the FakeLLM does not serve: use it in a `with` block")
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def script_left_count(self) -> int:
        """How much of the script was not asked for yet."""
        return self._rules.left_count

    def script(self, *outcomes: Answering) -> None:
        """Add to what is answered next.

        Raises:
            InvalidConfiguration: One cannot be answered; none is added.
        """
        self._rules.script(outcomes)

    def rule(self, when: Condition, answer: Answering) -> None:
        """Answer all requests of one kind.

        Args:
            when: A pattern that is looked for in the last message of the user, or a function of the `LLMRequest`.
            answer: What to answer, or a function of the `LLMRequest` that returns it.

        Raises:
            InvalidConfiguration: The pattern is none, or the answer; it names the rule, by its number, and the field.
        """
        self._rules.add(when, answer)

    def outcome(self, request: LLMRequest) -> LLMAnswer | LLMFault:
        """What this request gets; counts as answered."""
        return refusal(request, self.refuses) or self._rules.outcome(request, self.ignores)

    def next_number(self) -> int:
        """The number of the next answer."""
        return next(self._numbers)

    def keep(self, answer: LLMAnswer | None, request: LLMRequest, number: int) -> dict[str, Any]:
        """Begin a response in the background; without an answer it never ends."""
        kept = _Kept(answer, request, number, self._wait(answer))
        self._kept[f"resp_{number:06}"] = kept
        return kept.body()

    def look_up(self, response_id: str, *, cancel: bool) -> dict[str, Any] | None:
        """A response in the background as it is now; None if there is none."""
        kept = self._kept.get(response_id)
        if kept is None:
            return None
        if cancel:
            kept.cancelled = True
        else:
            self.polls_count += 1
        return kept.body()

    def forget(self, response_id: str) -> bool:
        """Delete a response in the background; whether there was one."""
        return self._kept.pop(response_id, None) is not None

    def _wait(self, answer: LLMAnswer | None) -> float:
        given = answer.latency if answer and answer.latency is not None else self.latency
        return given.total_seconds()

    def pause(self, answer: LLMAnswer) -> None:
        """Wait as long as this answer takes."""
        seconds = self._wait(answer)
        if seconds:
            self.closing.wait(seconds)

    def __enter__(self) -> FakeLLM:
        llm = self

        class Handler(LLMHandler):
            fake = llm

        try:
            self._server = LLMServer(("127.0.0.1", self._port), Handler)
        except OSError as error:
            raise InvalidConfiguration(
                f"port {self._port} on 127.0.0.1 cannot be used: {error.strerror}; choose another"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="holdfast-fake-llm", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        self._server.server_close()


class _Kept:
    """A response in the background."""

    def __init__(self, answer: LLMAnswer | None, request: LLMRequest, number: int, seconds: float) -> None:
        self.cancelled = False
        self._answer, self._request, self._number = answer, request, number
        self._created, self._done_at = int(time.time()), time.monotonic() + seconds

    def body(self) -> dict[str, Any]:
        done = time.monotonic() >= self._done_at
        if self._answer is not None and done and not self.cancelled:
            return responses_body(self._answer, self._request, self._number, self._created)
        status = (
            "cancelled" if self.cancelled else "in_progress" if self._answer is None or done else "queued"
        )
        return responses_open(self._request, self._number, self._created, status)
