"""The class that Temporal runs, generated for each `@workflow`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from temporalio import workflow as temporal
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import FailureError

from holdfast.authoring import scope
from holdfast.authoring.workflow import Handler, Workflow
from holdfast.engine.data.in_workflow import decode_in_workflow, encode_argument
from holdfast.engine.data.values import is_object
from holdfast.engine.failures import run_failure
from holdfast.engine.inbox import envelope_id
from holdfast.engine.pausing import HOLD_SIGNAL, RELEASE_SIGNAL
from holdfast.engine.runtime import Run, refused
from holdfast.options import WorkflowOptions

STATE_QUERY = "holdfast.state"
NO_QUERY = "has no query"
PAUSE_SIGNAL = "holdfast.pause"
RESUME_SIGNAL = "holdfast.resume"

_VERSIONING = {
    None: VersioningBehavior.UNSPECIFIED,
    "pinned": VersioningBehavior.PINNED,
    "auto_upgrade": VersioningBehavior.AUTO_UPGRADE,
}


class Shell:
    """The base of every generated class: messages, queries and updates by any name."""

    definition: Workflow[..., Any]

    def __init__(self) -> None:
        self.run_scope = Run(self.definition)

    @temporal.signal(dynamic=True)
    def on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Pause and resume; every other name is a message for the inbox."""
        pausing = self.run_scope.calls.pausing
        if name == PAUSE_SIGNAL:
            pausing.pause(_reason(args))
        elif name == RESUME_SIGNAL:
            pausing.resume()
        elif name == HOLD_SIGNAL:
            pausing.hold(_reason(args))
        elif name == RELEASE_SIGNAL:
            pausing.release()
        else:
            self.run_scope.inbox.put(name, args)

    @temporal.update(dynamic=True)
    async def on_update(self, name: str, args: Sequence[RawValue]) -> Any:
        """The workflow's own updates, and messages for the inbox."""
        handler = self.definition.updates.get(name)
        if handler is None:
            self.run_scope.inbox.put(name, args)
            return "delivered"
        try:
            return await self._call(handler, handler.fn, args)
        except FailureError:
            raise
        except Exception as exc:
            raise run_failure(exc, []) from exc

    @on_update.validator
    def check_update(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse what the run cannot take; nothing is recorded then."""
        handler = self.definition.updates.get(name)
        if handler is None:
            if envelope_id(args) is None:
                known = ", ".join(sorted(self.definition.updates)) or "none"
                raise refused(
                    f"workflow {self.definition.name!r} has no update {name!r}; it has: {known}", "NotFound"
                )
            self.run_scope.inbox.check(name, args)
            return
        values = self._arguments(handler, args)
        if handler.validator is not None:
            handler.validator(self._state(handler), *values)

    @temporal.query(dynamic=True)
    def on_query(self, name: str, args: Sequence[RawValue]) -> Any:
        """The run's state, or a query of the workflow."""
        if name == STATE_QUERY:
            return RawValue(
                encode_argument(self.run_scope.state, temporal.payload_converter(), where="The state")
            )
        handler = self.definition.queries.get(name)
        if handler is None:
            known = ", ".join(sorted(self.definition.queries)) or "none"
            raise refused(
                f"workflow {self.definition.name!r} {NO_QUERY} {name!r}; it has: {known}", "NotFound"
            )
        result = handler.fn(self._state(handler), *self._arguments(handler, args))
        return RawValue(
            encode_argument(result, temporal.payload_converter(), where=f"The answer of query {name!r}")
        )

    async def _call(self, handler: Handler, fn: Any, args: Sequence[RawValue]) -> RawValue:
        result = fn(self._state(handler, keep=True), *self._arguments(handler, args))
        if inspect.isawaitable(result):
            result = await result
        return RawValue(
            encode_argument(result, temporal.payload_converter(), where="The answer of an update")
        )

    def _state(self, handler: Handler, *, keep: bool = False) -> Any:
        return self.run_scope.state_as(next(iter(handler.signature.adapters), None), keep=keep)

    def _arguments(self, handler: Handler, args: Sequence[RawValue]) -> list[Any]:
        names, adapters = handler.signature.names[1:], handler.signature.adapters[1:]
        if len(args) > len(names):
            raise refused(
                f"{handler.fn.__name__} takes {len(names)} arguments, got {len(args)}", "InvalidInput"
            )
        converter = temporal.payload_converter()
        values = [
            decode_in_workflow(arg.payload, adapter, converter, where=f"Argument {name!r}")
            for arg, adapter, name in zip(args, adapters, names, strict=False)
        ]
        for parameter in handler.signature.parameters[1 + len(values) :]:
            if parameter.default is parameter.empty:
                raise refused(f"{handler.fn.__name__} misses the argument {parameter.name!r}", "InvalidInput")
        return values


def _reason(args: Sequence[RawValue]) -> str:
    try:
        note: object = temporal.payload_converter().from_payload(args[0].payload) if args else None
    except (KeyError, RuntimeError, ValueError):
        note = None  # another kind of client sent it
    return str(note.get("reason", "")) if is_object(note) else ""


def workflow_class(
    definition: Workflow[..., Any], *, sandboxed: bool = True, versioned: bool = True
) -> type[Shell]:
    """The class for one workflow. It stands in the user's module under its own name, since the sandbox imports the
    module again and looks for it there."""
    return _generate(definition, sandboxed=sandboxed, versioned=versioned)


def class_name(definition: Workflow[..., Any]) -> str:
    """The generated class's name."""
    return f"_holdfast_{definition.fn.__qualname__.replace('.', '_').replace('<', '').replace('>', '')}"


def _generate(definition: Workflow[..., Any], *, sandboxed: bool, versioned: bool = True) -> type[Shell]:
    name, module = class_name(definition), definition.fn.__module__

    async def run(self: Shell, *args: Any) -> RawValue:
        return await self.run_scope.execute(args)

    count = len(definition.signature.names)
    self_parameter = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [
        inspect.Parameter(f"a{index}", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=RawValue)
        for index in range(count)
    ]
    # Temporal hands over RawValue only where the signature says so; decoding is ours, inside the run's try.
    run.__signature__ = inspect.Signature([self_parameter, *parameters], return_annotation=RawValue)  # type: ignore[attr-defined]
    run.__annotations__ = {**{f"a{index}": RawValue for index in range(count)}, "return": RawValue}
    run.__qualname__, run.__module__ = f"{name}.run", module
    body = {
        "definition": definition,
        "run": temporal.run(run),
        "__module__": module,
        "__qualname__": name,
        "__doc__": definition.__doc__,
    }
    generated: type[Shell] = type(name, (Shell,), body)
    generated = temporal.defn(
        name=definition.name,
        sandboxed=sandboxed,
        versioning_behavior=_VERSIONING[definition.options.versioning if versioned else None],
    )(generated)
    definition.fn.__globals__[name] = generated
    return generated


def _current() -> scope.RunScope | None:
    if not temporal.in_workflow():
        return None
    instance = temporal.instance()
    if isinstance(instance, Shell):
        return instance.run_scope
    # A workflow class written directly on Temporal: steps and waits work there too.
    found = instance.__dict__.get("_holdfast_run")
    if found is None:
        found = instance.__dict__["_holdfast_run"] = Run(_FOREIGN)
    return found  # type: ignore[no-any-return]


async def _foreign() -> None:
    """Stands for a workflow class that Holdfast did not generate."""


_FOREIGN: Workflow[[], None] = Workflow(_foreign, name="holdfast.foreign", options=WorkflowOptions())


def _publish(definition: Workflow[..., Any]) -> None:
    _generate(definition, sandboxed=True)


scope.install(current=_current, reimporting=temporal.unsafe.in_sandbox, publish=_publish)
