"""What an executor gets besides its config and its input."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar, cast, overload

from pydantic_core import to_jsonable_python

from holdfast.authoring.depends import Depends, Providers
from holdfast.authoring.info import StepInfo
from holdfast.authoring.next_call import Earlier
from holdfast.errors import InvalidInput
from holdfast.redaction import Redactor
from holdfast.secrets import Secrets, secret_sources

if TYPE_CHECKING:
    from holdfast.engine.data.refs import Ref

T = TypeVar("T")

_PIECE_BYTES: Final = 1024 * 1024
_OVERLAP_CHARS: Final = 8 * 1024
"""A secret across the border of two pieces is seen if it is not longer."""


@dataclass(frozen=True, kw_only=True)
class ExecutorContext:
    """The circumstances of one attempt, and what the worker lends to it."""

    run_id: str
    """The run; empty for a call outside of one."""

    workflow: str
    """The run's workflow."""

    node: str
    """The node or call: `fetch`, `enrich[3]` for an item of a map, `executor:http-2` for the second call in code."""

    attempt: int
    """The number of this attempt, from 1."""

    idempotency_key: str
    """The same for every attempt of this call, and for no other call: give it to services that accept one."""

    heartbeat_details: tuple[Any, ...]
    """What the last attempt's last `heartbeat(...)` recorded, as plain JSON values."""

    secrets: Secrets
    """`await ctx.secrets.get("API_KEY")`: a secret by name, for configs that name one instead of holding it."""

    logger: logging.Logger
    """Where to log. Secrets are hidden, as in whatever is logged during this attempt."""

    earlier: Earlier | None
    """Of a call that follows one whose `NextCall` had `calls`: that one's output, and what came of them."""

    _info: StepInfo = field(repr=False, compare=False)
    _providers: Providers = field(repr=False, compare=False)
    _redactor: Redactor = field(repr=False, compare=False)

    def heartbeat(self, *details: object) -> None:
        """Record progress that the next attempt finds in `heartbeat_details`. Beats without details are sent by
        themselves; this is for executors that can go on where they were."""
        plain: list[Any] = to_jsonable_python(details)
        self._info.heartbeat(*(self._redactor.value(item) for item in plain))

    async def record(self, *details: object) -> None:
        """As `heartbeat`, and wait until the server has it: for what cost money, so that no crash loses it. It does
        nothing where the executor is called inside of a step, whose progress is its own, or outside a worker.

        Raises:
            Unavailable: The server does not have it.
        """
        plain: list[Any] = to_jsonable_python(details)
        await self._info.record(*(self._redactor.value(item) for item in plain))

    @property
    def is_cancelled(self) -> bool:
        """Whether the run asked this attempt to stop. It also gets `asyncio.CancelledError` where it awaits."""
        return self._info.cancelled

    def hide(self, value: str) -> None:
        """From now on treat a value as a secret, though it comes from elsewhere: a token that a service gave out."""
        self._redactor.add(value)

    async def keep(self, file: BinaryIO) -> Ref[str] | None:
        """Put what a file holds into the worker's storage for large payloads, as Base64 text. In the output stands what
        this returns, and whoever uses that gets the text.

        Args:
            file: Open for reading and seeking; a temporary file.

        Returns:
            None without a storage, outside a worker for example: let the output hold the text itself.

        Raises:
            InvalidInput: It holds a secret that this attempt asked for.
            PayloadTooLarge: It is over 50 MiB as Base64.
        """
        if self._redactor.knows_any and await asyncio.to_thread(_holds_secret, file, self._redactor):
            raise InvalidInput(f"what {self.node!r} wants to keep holds a secret, which is never recorded")
        return await self._info.keep(file)

    def add_usage(self, *, cost_usd: float = 0.0, tokens: int = 0) -> None:
        """Count what this attempt spends towards the run's budget.

        Args:
            cost_usd: US dollars.
            tokens: Tokens of language models, in and out.

        Raises:
            InvalidInput: One of them is negative or no number.
        """
        self._info.add_usage(cost_usd=cost_usd, tokens=tokens)

    @overload
    async def get(self, provider: Callable[[], AsyncIterator[T] | Iterator[T] | Awaitable[T]]) -> T: ...
    @overload
    async def get(self, provider: Callable[[], T]) -> T: ...
    async def get(self, provider: Callable[[], Any]) -> Any:
        """A client that all attempts on this worker share: opened at first use, closed with the worker.

        Args:
            provider: As for `Depends`: a function without parameters, most often an async generator that yields the
                client once. `Worker(overrides={provider: fake})` puts another in its place.
        """
        Depends(provider)  # the same checks
        return await self._providers.get(provider)


def _holds_secret(file: BinaryIO, redactor: Redactor) -> bool:
    file.seek(0)
    before = ""
    while piece := file.read(_PIECE_BYTES):
        text = before + piece.decode("latin-1")
        if redactor.value(text) != text:
            return True
        before = text[-_OVERLAP_CHARS:]
    return False


async def context_of(
    info: StepInfo,
    *,
    kind: str,
    node: str,
    key: str,
    providers: Providers,
    redactor: Redactor,
    earlier: object = None,
) -> ExecutorContext:
    """The context of an attempt.

    Args:
        info: Of the step that carries the executor out, or that calls it.
        kind: The executor's type.
        node: See `ExecutorContext.node`.
        key: The idempotency key.
        providers: The worker's dependencies.
        redactor: Learns the secrets that are asked for.
        earlier: See `ExecutorContext.earlier`, as JSON.
    """
    sources = await providers.get(secret_sources)
    return ExecutorContext(
        run_id=info.run_id,
        workflow=info.workflow,
        node=node,
        attempt=info.attempt,
        idempotency_key=key,
        heartbeat_details=info.heartbeat_details,
        secrets=Secrets(cast("list[Any]", sources), redactor),
        logger=logging.getLogger(f"holdfast.executor.{kind}"),
        earlier=None if earlier is None else Earlier.model_validate(earlier),
        _info=info,
        _providers=providers,
        _redactor=redactor,
    )
