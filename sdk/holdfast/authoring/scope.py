"""What a decorated function needs to know about the place it is called from.

The engine installs itself here, so that authoring knows no Temporal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from holdfast.authoring.step import Step
    from holdfast.authoring.workflow import Workflow
    from holdfast.spec.model import DagSpec, OnError


class RunScope(Protocol):
    """A run, as its workflow code sees it."""

    async def call_step(self, step: Step[..., Any], values: Sequence[Any]) -> Any:
        """Schedule a step and wait for its result."""
        ...

    async def call_child(self, child: Workflow[..., Any], values: Sequence[Any]) -> Any:
        """Start a child run and wait for its result."""
        ...

    async def call_dag(self, document: DagSpec, input: Any) -> Any:
        """Run a DAG as a child and wait for its result."""
        ...

    async def map_steps(
        self, step: Step[..., Any], items: Sequence[Any], concurrency: int, on_error: OnError
    ) -> list[Any]:
        """Call a step once per item."""
        ...

    async def wait_for(self, name: str, hint: Any, timeout: timedelta | None) -> Any:
        """Wait for a message."""
        ...

    async def approval(self, prompt: str, form: Any, timeout: timedelta | None, name: str | None) -> Any:
        """Wait for a decision."""
        ...

    def set_state(self, value: Any) -> None:
        """Publish the run's state."""
        ...

    async def emit(self, event: str, payload: Any) -> None:
        """Tell those who listen that something has happened."""
        ...

    def continue_as_new(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """End this execution and start the next with these arguments; raises."""
        ...


@dataclass
class _Engine:
    current: Callable[[], RunScope | None]
    reimporting: Callable[[], bool]
    publish: Callable[[Workflow[..., Any]], None]


def _nothing(_workflow: Workflow[..., Any]) -> None:
    return None


_engine = _Engine(current=lambda: None, reimporting=lambda: False, publish=_nothing)


def install(
    *,
    current: Callable[[], RunScope | None],
    reimporting: Callable[[], bool],
    publish: Callable[[Workflow[..., Any]], None],
) -> None:
    """Called once by the engine: how to find the current run, whether a module is being imported again for
    one run, and how to publish a workflow's class in such a module."""
    _engine.current, _engine.reimporting, _engine.publish = current, reimporting, publish


def current_run() -> RunScope | None:
    """The run whose workflow code is being executed, else None."""
    return _engine.current()


def reimporting() -> bool:
    """Whether decorators run for one run's private copy of a module."""
    return _engine.reimporting()


def publish(workflow: Workflow[..., Any]) -> None:
    """Make a workflow of a privately imported module known to the engine."""
    _engine.publish(workflow)
