"""Answers that were paid for, so that the next attempt does not pay again.

They live in the heartbeat details of the call's own step: the Temporal server keeps those until the step ends, large
ones in the worker's storage for payloads, encoded as all payloads are. They are sent before the next request is: the
last answer is in the step's own result, which gets to the server no later than a record of it would.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from pydantic import BaseModel, Field, ValidationError

from holdfast import ExecutorContext
from holdfast.spec.cel_values import is_map
from holdfast_executors.llm_models import Body, Reply

_KEY: Final = "holdfast.llm"


class _Kept(BaseModel):
    replies: dict[str, Reply] = Field(default_factory=dict[str, Reply])
    begun: dict[str, str] = Field(default_factory=dict[str, str])


class Memo:
    """The answers of one call.

    Args:
        ctx: Of the attempt.
    """

    def __init__(self, ctx: ExecutorContext) -> None:
        self._ctx = ctx
        self._kept, self._sent = _Kept(), True
        for details in ctx.heartbeat_details[:1]:
            if is_map(details) and _KEY in details:
                try:
                    self._kept = _Kept.model_validate(details[_KEY])
                except ValidationError:  # of another version of this executor
                    ctx.logger.warning("what the last attempt has paid for cannot be read")

    @property
    def holds_any(self) -> bool:
        """Whether something would be lost if the next attempt did not find what is kept."""
        return bool(self._kept.replies or self._kept.begun)

    def reply(self, request: str) -> Reply | None:
        """The answer to a request that an earlier attempt got."""
        return self._kept.replies.get(request)

    def begun(self, request: str) -> str | None:
        """The id of a response that works on this request in the background."""
        return self._kept.begun.get(request)

    def keep(self, request: str, reply: Reply) -> None:
        """Keep an answer."""
        self._kept.begun.pop(request, None)
        self._kept.replies[request] = reply
        self._sent = False

    async def begin(self, request: str, response_id: str | None) -> None:
        """Keep the id of a response in the background, at once; None forgets it."""
        if response_id is None:
            self._kept.begun.pop(request, None)
        else:
            self._kept.begun[request] = response_id
        self._sent = False
        await self.flush()

    async def flush(self) -> None:
        """Wait until the server has what is kept.

        Raises:
            Unavailable: It has not.
        """
        if not self._sent:
            await self._ctx.record({_KEY: self._kept.model_dump(mode="json", exclude_defaults=True)})
            self._sent = True


def request_hash(base_url: str, api: str, body: Body) -> str:
    """What makes two requests the same."""
    text = json.dumps([base_url, api, body], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
