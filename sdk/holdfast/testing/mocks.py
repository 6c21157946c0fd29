"""Mocks of steps, by object: what workers of this process, and plain calls, run in their place."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast.authoring.info import current_info
from holdfast.authoring.registry import registry
from holdfast.authoring.signature import Signature, where
from holdfast.authoring.step import Step
from holdfast.errors import InvalidStep

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class StepCall:
    """One call of a mocked step."""

    arguments: Mapping[str, Any]
    """By parameter name, as the step received them."""

    run_id: str | None
    """The run; None for a plain call."""

    attempt: int
    """The number of the attempt, from 1."""

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments in the order of the parameters."""
        return tuple(self.arguments.values())


class StepMock:
    """A mocked step or compensation.

    Attributes:
        calls: Its calls so far, every attempt one.
    """

    def __init__(self, signature: Signature, outcome: Any) -> None:
        self.calls: list[StepCall] = []
        self._signature = signature
        self._outcome = outcome

    def __repr__(self) -> str:
        return f"<mock of {self._signature.fn.__qualname__}, {len(self.calls)} calls>"

    async def stand_in(self, values: Sequence[Any]) -> Any:
        """Record the call and give the outcome."""
        info = current_info()
        self.calls.append(
            StepCall(
                arguments=dict(zip(self._signature.names, values, strict=True)),
                run_id=info.run_id if info else None,
                attempt=info.attempt if info else 1,
            )
        )
        outcome = self._outcome
        if isinstance(outcome, BaseException) or _is_exception(outcome):
            raise outcome
        if not callable(outcome):
            return outcome
        args, kwargs = self._signature.split(values)
        if inspect.iscoroutinefunction(outcome):
            return await outcome(*args, **kwargs)
        result = await asyncio.to_thread(outcome, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result


class StepMocks:
    """The mocks of one `mock_steps`: `mocks[charge]`, by step or compensation."""

    def __init__(self, mocks: Mapping[Callable[..., Any], StepMock]) -> None:
        self._mocks = mocks

    def __getitem__(self, key: Step[..., Any] | Callable[..., Any]) -> StepMock:
        return self._mocks[key.fn if isinstance(key, Step) else key]


@contextmanager
def mock_steps(outcomes: Mapping[Any, Any]) -> Generator[StepMocks]:
    """Replace what this process runs for some steps, in workers that started before or start after, and in plain calls.

    Args:
        outcomes: By step, or by the function given to `step.compensate`: a value, an exception to raise, or a function,
            async or sync, that takes the step's arguments without dependencies. A list is a value.

    Yields:
        The mocks by the same keys; `mocks[charge].calls` are its calls.

    Raises:
        InvalidStep: A key is neither a step nor a compensation, or a function does not take the step's arguments.

    Example:
        `with mock_steps({charge: Permanent("declined"), ship: Parcel(id="1")}) as mocks: ...`
    """
    mocks: dict[Callable[..., Any], StepMock] = {}
    for target, outcome in outcomes.items():
        fn, signature = _resolve(target)
        _check(signature, outcome)
        mocks[fn] = StepMock(signature, outcome)
    with registry().standing_in({fn: mock.stand_in for fn, mock in mocks.items()}):
        yield StepMocks(mocks)


@contextmanager
def mock_step(
    step: Step[..., R],
    outcome: R | BaseException | type[BaseException] | Callable[..., R] | Callable[..., Awaitable[R]],
    /,
) -> Generator[StepMock]:
    """Replace what this process runs for one step; see `mock_steps`, of which this is the typed form.

    Args:
        step: The step.
        outcome: A value, an exception to raise, or a function, async or sync.

    Yields:
        The mock; `mock.calls` are its calls.

    Raises:
        InvalidStep: A function does not take the step's arguments.
    """
    with mock_steps({step: outcome}) as mocks:
        yield mocks[step]


def _is_exception(outcome: Any) -> bool:
    return isinstance(outcome, type) and issubclass(outcome, BaseException)


def _resolve(target: object) -> tuple[Callable[..., Any], Signature]:
    if isinstance(target, Step):
        return target.fn, target.signature
    for step in registry().all_steps():
        if step.compensation is not None and step.compensation.fn is target:
            return step.compensation.fn, step.compensation.signature
    raise InvalidStep(
        f"{target!r} is neither a step nor a compensation: give the decorated function, not its name"
    )


def _check(signature: Signature, outcome: object) -> None:
    if not inspect.isfunction(outcome):
        return
    args, kwargs = signature.split([None] * len(signature.names))
    try:
        inspect.signature(outcome).bind(*args, **kwargs)
    except TypeError as exc:
        raise InvalidStep(
            f"{where(outcome)} cannot stand for {signature.fn.__qualname__}({', '.join(signature.names)}): {exc}"
        ) from exc
