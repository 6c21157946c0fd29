"""What a running step may know about itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

from holdfast.errors import InvalidInput, NotInWorkflow

if TYPE_CHECKING:
    from holdfast.engine.data.refs import Ref

USAGE: Final = "holdfast-usage"
"""In the metadata of a step's result: what it used up, as JSON numbers by unit."""


@dataclass(kw_only=True)
class Usage:
    """What one attempt has spent so far; the run's budget counts it."""

    cost_usd: float = 0.0
    """US dollars."""

    tokens: int = 0
    """Tokens of language models, in and out."""

    def add(self, cost_usd: float, tokens: int) -> None:
        """Spend more.

        Raises:
            InvalidInput: One of them is negative or no number.
        """
        if not 0 <= cost_usd < math.inf or tokens < 0:
            raise InvalidInput(f"add_usage(cost_usd={cost_usd!r}, tokens={tokens!r}): use zero or more")
        self.cost_usd += cost_usd
        self.tokens += tokens

    @property
    def by_unit(self) -> dict[str, float]:
        """What was spent, without zeros."""
        return {unit: amount for unit, amount in vars(self).items() if amount}


@dataclass(frozen=True, kw_only=True)
class StepInfo:
    """The circumstances of one attempt of a step. `step_info()` returns it."""

    run_id: str
    """The run."""

    workflow: str
    """The run's workflow."""

    step: str
    """The step's name."""

    attempt: int
    """The number of this attempt, from 1."""

    idempotency_key: str
    """The same for every attempt of this call, and for no other call: give it to services that accept one."""

    token: str
    """Names this call for `client.steps.complete(token, ...)`, for a deferred step."""

    heartbeat_details: tuple[Any, ...] = ()
    """What the last attempt's last `heartbeat(...)` recorded, as plain JSON values."""

    is_local: bool = False
    """Whether it runs inside the workflow task."""

    usage: Usage = field(default_factory=Usage, compare=False)
    """What this attempt has spent."""

    executor_calls: Counter[str] = field(default_factory=Counter[str], compare=False, repr=False)
    """How often this attempt called each executor itself: part of the idempotency keys of those calls."""

    _heartbeat: Callable[..., None] = field(repr=False, compare=False, default=lambda *_: None)
    _record: Callable[..., Awaitable[None]] | None = field(repr=False, compare=False, default=None)
    _is_cancelled: Callable[[], bool] = field(repr=False, compare=False, default=lambda: False)
    _defer: Callable[[], NoReturn] | None = field(repr=False, compare=False, default=None)
    _keep: Callable[[BinaryIO], Awaitable[Ref[str] | None]] | None = field(
        repr=False, compare=False, default=None
    )

    def heartbeat(self, *details: Any) -> None:
        """Record progress that the next attempt finds in `heartbeat_details`. Beats without details are sent by
        themselves; this is for steps that can go on where they were."""
        self._heartbeat(*details)

    async def record(self, *details: Any) -> None:
        """As `heartbeat`, and wait until the server has it. Does nothing in steps that are no executor's own.

        Raises:
            Unavailable: The server does not have it.
        """
        if self._record is not None:
            await self._record(*details)

    def add_usage(self, *, cost_usd: float = 0.0, tokens: int = 0) -> None:
        """Count what this step spends towards the run's budget.

        Args:
            cost_usd: US dollars.
            tokens: Tokens of language models, in and out.

        Raises:
            InvalidInput: One of them is negative or no number.
        """
        self.usage.add(cost_usd, tokens)

    @property
    def cancelled(self) -> bool:
        """Whether the run asked this step to stop. Async steps also get `asyncio.CancelledError`."""
        return self._is_cancelled()

    async def keep(self, file: BinaryIO) -> Ref[str] | None:
        """Put what a file holds into the worker's storage for large payloads, as Base64 text.

        Returns:
            None where no worker runs the step, or the worker has no storage.

        Raises:
            PayloadTooLarge: It is over what may travel.
        """
        return None if self._keep is None else await self._keep(file)

    def complete_later(self) -> NoReturn:
        """End the function but not the step: it ends with `client.steps.complete(token, result)`.

        Raises:
            NotInWorkflow: The step is not declared `deferred=True`.
        """
        if self._defer is None:
            raise NotInWorkflow(f"complete_later() needs @step(deferred=True); {self.step!r} is not deferred")
        self._defer()


_current: ContextVar[StepInfo | None] = ContextVar("holdfast_step_info", default=None)


def step_info() -> StepInfo:
    """The circumstances of the running step.

    Raises:
        NotInWorkflow: No step is running here, for example when it is called as a plain function.
    """
    info = _current.get()
    if info is None:
        raise NotInWorkflow("step_info() works inside a step that a worker runs")
    return info


def current_info() -> StepInfo | None:
    """The circumstances of the running step; None when no worker runs it."""
    return _current.get()


def enter(info: StepInfo) -> None:
    """Set the circumstances for the current context."""
    _current.set(info)
