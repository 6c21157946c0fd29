"""A recorded run as a test: the workflow runs again, and each of its steps answers what it answered then."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from holdfast.authoring.registry import registry
from holdfast.authoring.signature import Signature
from holdfast.authoring.workflow import Workflow
from holdfast.errors import NotFound, Permanent, RunClosed, RunFailed
from holdfast.testing.mocks import mock_steps

if TYPE_CHECKING:
    from holdfast.client.client import Client

_PATIENCE: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class RecordedStep:
    """One call of a step, or of what undoes it (`charge.compensate`)."""

    name: str

    input: Sequence[Any] | None = None
    """Its arguments as JSON values; `unittest.mock.ANY` stands for what differs from run to run. None: not recorded, as
    for local steps."""

    result: Any = None
    """What it gave, as a JSON value."""

    error: tuple[str, str] | None = None
    """The type and the message with which it failed for good."""


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """What `holdfast runs export --pytest` writes of a run."""

    id: str
    input: Sequence[Any] = ()
    """The arguments as JSON values."""

    messages: Sequence[tuple[str, Any]] = ()
    """What was sent to it, by name, in order. A test sends all of it at the start."""

    steps: Sequence[RecordedStep] = field(default_factory=list[RecordedStep])
    """Those of its child runs, too."""

    in_order: bool = False
    """Whether the steps came one after the other, so that they must do so again."""

    result: Any = None
    error: tuple[str, str] | None = None
    """The type and the message with which the run failed."""


class RecordedSteps:
    """Steps that answer as recorded.

    Attributes:
        differences: What was called otherwise than recorded, in words.
    """

    def __init__(self, steps: Sequence[RecordedStep], *, in_order: bool) -> None:
        self.differences: list[str] = []
        self._left = list(steps)
        self._in_order = in_order

    def answer(self, name: str, signature: Signature) -> Callable[..., Any]:
        """A stand-in for a step."""

        async def stand_in(*args: Any, **kwargs: Any) -> Any:
            values = signature.bind(args, kwargs)
            given = [_json(adapter, value) for adapter, value in zip(signature.adapters, values, strict=True)]
            recorded = self._take(name, given)
            if recorded.error is not None:
                kind, message = recorded.error
                raise type(kind, (Permanent,), {})(message)
            return _typed(signature.result, recorded.result)

        return stand_in

    def _take(self, name: str, given: Sequence[Any]) -> RecordedStep:
        of_name = [step for step in self._left if step.name == name]
        fitting = [step for step in of_name if step.input is None or list(step.input) == list(given)]
        if not fitting:
            known = f"; recorded was {of_name[0].input!r}" if of_name else ", which was not recorded"
            return self._refuse(f"step {name!r} was called with {list(given)!r}{known}")
        if self._in_order and fitting[0] is not self._left[0]:
            first = self._left[0]
            return self._refuse(
                f"step {name!r} was called before {first.name!r}, which came first when recorded"
            )
        self._left.remove(fitting[0])
        return fitting[0]

    def _refuse(self, difference: str) -> RecordedStep:
        self.differences.append(difference)
        return RecordedStep("", error=("NotRecorded", difference))

    def end(self) -> None:
        """Note what was recorded and not called."""
        missing = Counter(step.name for step in self._left)
        self.differences += [
            f"step {name!r} was called {count} times less than recorded" for name, count in missing.items()
        ]


@contextmanager
def recorded_steps(steps: Sequence[RecordedStep], *, in_order: bool = False) -> Generator[RecordedSteps]:
    """Let all steps of this process answer as recorded; none of them is executed.

    A call is answered by the first recorded one of its step with equal arguments. Any other call fails the run.

    Args:
        steps: The recorded calls.
        in_order: Whether they must come in this order.

    Yields:
        What was called otherwise, in `differences`.

    Raises:
        NotFound: A recorded step is not there any more.
    """
    played = RecordedSteps(steps, in_order=in_order)
    outcomes: dict[Any, Any] = {}
    names: set[str] = set()
    for step in registry().all_steps():
        outcomes[step] = played.answer(step.name, step.signature)
        names.add(step.name)
        if step.compensation is not None:
            undo = step.compensation
            outcomes[undo.fn] = played.answer(undo.name, undo.signature)
            names.add(undo.name)
    if missing := sorted({step.name for step in steps} - names):
        raise NotFound(f"the code has no step {', '.join(map(repr, missing))}, which the recorded run called")
    with mock_steps(outcomes):
        yield played
    played.end()


async def check_recorded(client: Client, workflow: Workflow[..., Any], recorded: RecordedRun) -> None:
    """Run a workflow with the input, the messages and the step results of a recorded run, and check that it calls the
    same steps with the same arguments and ends the same way. No step is executed.

    Args:
        client: Of a test server: the fixture `holdfast_client`.
        workflow: The workflow.
        recorded: The run.

    Raises:
        AssertionError: It does something else.
        NotFound: The code has no such step any more.
    """
    from holdfast.engine.worker import Worker  # slow to import, and few tests have recorded runs

    signature = workflow.signature
    args = [
        _typed(adapter, value) for adapter, value in zip(signature.adapters, recorded.input, strict=False)
    ]
    with recorded_steps(recorded.steps, in_order=recorded.in_order) as steps:
        # The module has the workflows that it calls as children.
        served = [workflow, *filter(None, [sys.modules.get(workflow.fn.__module__)])]
        async with Worker(client, served):
            run = await client.start(workflow, *args, id=recorded.id)
            for name, value in recorded.messages:
                with suppress(RunClosed):
                    await run.send(name, value)
            result = error = None
            try:
                result = _json(signature.result, await run.result(timeout=_PATIENCE))
            except RunFailed:
                described = await run.describe()
                error = (described.error.type, described.error.message) if described.error else ("", "")
    assert not steps.differences, "\n".join(steps.differences)
    assert error == recorded.error, f"the run ended with {error or 'a result'}; recorded was {recorded.error}"
    assert recorded.result == result, f"the run gave {result!r}; recorded was {recorded.result!r}"


def _json(adapter: TypeAdapter[Any], value: Any) -> Any:
    return json.loads(adapter.dump_json(value))


def _typed(adapter: TypeAdapter[Any], value: Any) -> Any:
    return adapter.validate_json(json.dumps(value))
