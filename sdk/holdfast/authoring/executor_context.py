"""What an executor gets besides its config and its input."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, overload

from pydantic_core import to_jsonable_python

from holdfast.authoring.depends import Depends, Providers
from holdfast.authoring.info import StepInfo
from holdfast.redaction import Redactor
from holdfast.secrets import Secrets, secret_sources

T = TypeVar("T")


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

    _info: StepInfo = field(repr=False, compare=False)
    _providers: Providers = field(repr=False, compare=False)
    _redactor: Redactor = field(repr=False, compare=False)

    def heartbeat(self, *details: object) -> None:
        """Record progress that the next attempt finds in `heartbeat_details`. Beats without details are sent by
        themselves; this is for executors that can go on where they were."""
        plain: list[Any] = to_jsonable_python(details)
        self._info.heartbeat(*(self._redactor.value(item) for item in plain))

    @property
    def is_cancelled(self) -> bool:
        """Whether the run asked this attempt to stop. It also gets `asyncio.CancelledError` where it awaits."""
        return self._info.cancelled

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


async def context_of(
    info: StepInfo, *, kind: str, node: str, key: str, providers: Providers, redactor: Redactor
) -> ExecutorContext:
    """The context of an attempt.

    Args:
        info: Of the step that carries the executor out, or that calls it.
        kind: The executor's type.
        node: See `ExecutorContext.node`.
        key: The idempotency key.
        providers: The worker's dependencies.
        redactor: Learns the secrets that are asked for.
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
        _info=info,
        _providers=providers,
        _redactor=redactor,
    )
