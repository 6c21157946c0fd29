"""One request to an endpoint, whole, streamed or in the background. openai is imported with this module."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import openai

from holdfast import ExecutorContext, Permanent, RetryAfter, Unavailable
from holdfast.spec.cel_values import is_map
from holdfast_executors.llm_client import Endpoints, headers_of
from holdfast_executors.llm_failures import failure
from holdfast_executors.llm_memo import Memo
from holdfast_executors.llm_models import Body, LlmConfig, Reply
from holdfast_executors.llm_reply import parse, read_response
from holdfast_executors.llm_request import tokens_of
from holdfast_executors.llm_stream import ChatPieces, Publish, response_piece

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""No answer is read further."""

_POLL_SECONDS: Final = (0.5, 5.0)
"""Between two looks at a response in the background: first, and at most."""

_CANCEL_SECONDS: Final = 5
"""For how long an endpoint may keep a cancelled step from ending."""

_OPEN: Final = ("queued", "in_progress")


class Sender:
    """Sends the requests of one attempt.

    Args:
        endpoints: The worker's.
        config: Of the call.
        key: The API key.
        publish: Takes the pieces of a stream.
        ctx: Of the attempt.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        config: LlmConfig,
        key: str | None,
        publish: Publish,
        ctx: ExecutorContext,
    ) -> None:
        self._endpoints, self._config, self._publish, self._ctx = endpoints, config, publish, ctx
        client = endpoints.client(config.base_url)
        self._api: Any = client.chat.completions if config.api == "chat" else client.responses
        self._headers = headers_of(key)
        self._where = f"the endpoint {config.base_url}"
        self._open: str | None = None
        """The response in the background that is waited for."""

    async def send(self, body: Body, memo: Memo, request: str) -> Reply:
        """Ask once.

        Raises:
            Unavailable, RetryAfter: It may go well later.
            Permanent: It will not.
        """
        bucket = self._endpoints.buckets[self._config.base_url, body["model"]]
        begun, tokens = memo.begun(request), tokens_of(body)
        holder, self._open = self._holder(body["model"]), None
        if begun is None:
            await bucket.take(tokens, begun=memo.holds_any, holder=holder)
        try:
            async with self._unless_cancelled(), self._in_time():
                if self._config.background:
                    return await self._background(body, memo, request, begun)
                if self._config.stream:
                    return await self._streamed(body)
                return parse(await self._whole(body), self._config.api)
        except openai.APIError as error:
            raised = failure(error, self._where)
            if isinstance(raised, RetryAfter) and isinstance(error, openai.APIStatusError):
                headers = error.response.headers
                delay = bucket.refused(headers, raised.delay, tokens, holder=holder)
                raised = RetryAfter(delay, str(raised))
            raise raised from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"{self._where} sent an event that is no JSON: {error}") from None

    def _holder(self, model: str) -> str | None:
        """Who comes back when the limit of this model says so: only a run does, and only for the last model. A limit of
        the others sends the call on to the next."""
        *_, last = dict.fromkeys([self._config.model, *self._config.fallbacks])
        return self._ctx.idempotency_key if self._ctx.run_id and model == last else None

    @asynccontextmanager
    async def _in_time(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._config.seconds):
                yield
        except TimeoutError:
            raise Unavailable(f"{self._where} did not answer within {self._config.seconds:g} s") from None

    @asynccontextmanager
    async def _unless_cancelled(self) -> AsyncGenerator[None]:
        """Asks the endpoint to stop working on a response that nobody is going to fetch: the run asked this attempt to
        stop, or no run is there that would try again."""
        try:
            yield
        except asyncio.CancelledError:
            if self._open is not None and (self._ctx.is_cancelled or not self._ctx.run_id):
                await self._cancel(self._open)
            raise

    async def _cancel(self, begun: str) -> None:
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._api.with_raw_response.cancel(begun, extra_headers=self._headers)
        except (openai.APIError, TimeoutError) as error:
            self._ctx.logger.warning(
                "%s was not told that the response %r is not wanted any more: %s", self._where, begun, error
            )

    async def _whole(self, body: Body) -> bytes:
        async with self._api.with_streaming_response.create(**self._asked(body)) as response:
            self._learn(body, response.headers)
            parts: list[bytes] = []
            size_bytes = 0
            try:
                async for part in response.iter_bytes():
                    size_bytes += len(part)
                    if size_bytes > MAX_BODY_BYTES:
                        raise Permanent(
                            f"{self._where} sent more than the {MAX_BODY_BYTES // 1024**2} MiB that are read"
                        )
                    parts.append(part)
            except (Permanent, TimeoutError):
                raise
            except Exception as error:  # of whichever HTTP library the client uses
                raise Unavailable(f"{self._where} broke off while it answered: {error!r}") from error
            return b"".join(parts)

    async def _streamed(self, body: Body) -> Reply:
        raw = await self._api.with_raw_response.create(**self._asked(body))
        self._learn(body, raw.headers)
        pieces, last = ChatPieces(), None
        async with raw.parse() as stream:
            async for event in stream:
                if self._config.api == "chat":
                    piece = pieces.add(event)
                else:
                    piece, last = response_piece(event, last)
                if piece:
                    self._publish(piece)
        whole = None if last is None else read_response(last)
        reply = pieces.reply() if self._config.api == "chat" else whole
        if reply is None:
            raise Unavailable(f"{self._where} ended its stream before the answer had an end")
        return reply

    async def _background(self, body: Body, memo: Memo, request: str, begun: str | None) -> Reply:
        if begun is None:
            made = await self._api.with_raw_response.create(**self._asked(body))
            self._learn(body, made.headers)
            found = _body(made)
            begun = found.get("id")
            if not begun:
                raise Unavailable(f"{self._where} began a response without an id")
            self._open = begun
            await memo.begin(request, begun)
        else:
            self._open = begun
            found = await self._look(begun, memo, request)
        pause, most = _POLL_SECONDS
        while found.get("status") in _OPEN:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, most)
            found = await self._look(begun, memo, request)
        self._open = None
        if found.get("status") in ("failed", "cancelled"):
            await memo.begin(request, None)  # the next attempt begins anew
        return read_response(found)

    async def _look(self, begun: str, memo: Memo, request: str) -> dict[str, Any]:
        """A response in the background as it is now."""
        try:
            return _body(await self._api.with_raw_response.retrieve(begun, extra_headers=self._headers))
        except openai.NotFoundError as error:
            await memo.begin(request, None)
            raise Unavailable(
                f"{self._where} knows nothing of the response {begun!r} that it began"
            ) from error

    def _asked(self, body: Body) -> Mapping[str, Any]:
        # The body is in its final form: as arguments, its parts would be looked at one by one for what to convert.
        needed = {"messages": ()} if self._config.api == "chat" else {}
        return {
            "model": body["model"],
            **needed,
            **({"stream": True} if body.get("stream") else {}),
            "extra_body": body,
            "extra_headers": self._headers,
            "timeout": self._config.seconds,
        }

    def _learn(self, body: Body, headers: Mapping[str, str]) -> None:
        self._endpoints.buckets[self._config.base_url, body["model"]].learn(headers)


def _body(raw: Any) -> dict[str, Any]:
    found: object = json.loads(raw.content)
    return dict(found) if is_map(found) else {}
