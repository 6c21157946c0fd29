"""`map_steps`: one step, many items."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeVar, cast, overload

from holdfast.authoring import scope
from holdfast.authoring.step import Step
from holdfast.errors import InvalidInput, InvalidStep, NotInWorkflow, StepFailed

T = TypeVar("T")
R = TypeVar("R")

MAX_CONCURRENCY = 500


@overload
async def map_steps(
    step: Callable[[T], Awaitable[R]],
    items: Sequence[T],
    /,
    *,
    concurrency: int = 50,
    on_error: Literal["fail_fast"] = "fail_fast",
) -> list[R]: ...
@overload
async def map_steps(
    step: Callable[[T], Awaitable[R]],
    items: Sequence[T],
    /,
    *,
    concurrency: int = 50,
    on_error: Literal["collect"],
) -> list[R | StepFailed]: ...
async def map_steps(
    step: Callable[[T], Awaitable[R]],
    items: Sequence[T],
    /,
    *,
    concurrency: int = 50,
    on_error: Literal["fail_fast", "collect"] = "fail_fast",
) -> Any:
    """Call a step once per item, and give the results in the order of the items.

    Up to 300 items (500 with a local step and nothing to undo) run in this run, more in child runs of at most that
    many, so that the run keeps a short history and answers queries however long the list is. A list of results over
    4 MiB is a `Ref`.

    Args:
        step: A `@step` function whose first parameter takes the item; others need defaults.
        items: The items, up to 1,000,000. A `range` is not written out.
        concurrency: How many run at the same time, 1 to 500.
        on_error: `fail_fast`: the first item that fails ends the others, undoes what has completed and raises.
            `collect`: all items run, and a failed one's `StepFailed` stands in place of its result.

    Raises:
        StepFailed: An item failed, with `fail_fast`.
        InvalidStep: It is no step, or takes no item.
        InvalidInput: There are too many items, or an option cannot work.
        NotInWorkflow: Called elsewhere.
    """
    if not isinstance(step, Step):
        raise InvalidStep(f"map_steps calls a @step function, not {step!r}")
    called = cast("Step[..., Any]", step)
    if not called.signature.parameters:
        raise InvalidStep(f"step {called.name!r} takes no item: give it a parameter")
    for parameter in called.signature.parameters[1:]:
        if parameter.default is parameter.empty:
            raise InvalidStep(
                f"step {called.name!r} gets one item at a time: give {parameter.name!r} a default, or put both into "
                "the item"
            )
    if not isinstance(cast("object", items), Sequence) or isinstance(items, str | bytes):
        raise InvalidInput(f"map_steps goes over a list, not {type(items).__name__}: write list(...)")
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise InvalidInput(f"concurrency={concurrency!r}: use 1 to {MAX_CONCURRENCY}")
    if on_error not in ("fail_fast", "collect"):
        raise InvalidInput(f'on_error={on_error!r}: use "fail_fast" or "collect"')
    run = scope.current_run()
    if run is None:
        raise NotInWorkflow("map_steps() works inside a workflow")
    return await run.map_steps(called, items, concurrency, on_error)
