"""Expressions and templates in a run: evaluated here where that is cheap, else in a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temporalio.api.common.v1 import Payload

from holdfast.engine.calls import Calls
from holdfast.engine.dag.nodes import EVALUATE
from holdfast.engine.payloads import as_payload, has_refs, object_of, plain
from holdfast.options import StepOptions
from holdfast.spec.expressions import MAX_BYTES_IN_PROCESS, Expression
from holdfast.spec.templates import expressions, render
from holdfast.spec.templates import names as template_names

_KEPT = 1_000
"""Decoded outputs that are remembered."""


class Evaluation:
    """Evaluates over raw outputs, each of which is decoded once.

    Args:
        calls: How the run calls steps.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._decoded: dict[int, tuple[Payload, Any]] = {}

    async def evaluate(self, expression: Expression, payloads: Mapping[str, Payload]) -> Any:
        """The value of an expression.

        Args:
            expression: What to evaluate.
            payloads: At least what it names.

        Raises:
            InvalidInput: It has no value.
            StepFailed: It was evaluated in a step, which failed.
        """
        needed = _named(expression, payloads)
        if self.is_light(expression, payloads):
            return expression.evaluate({name: self.decode(payload, name) for name, payload in needed.items()})
        return await self._in_step({"expression": as_payload(expression.text), "values": object_of(needed)})

    def is_light(self, expression: Expression, payloads: Mapping[str, Payload]) -> bool:
        """Whether workflow code may evaluate it itself.

        Raises:
            InvalidInput: It names something that is not there, or nothing may evaluate it.
        """
        needed = _named(expression, payloads)
        if any(map(has_refs, needed.values())):
            return False
        return not expression.cost(
            {name: self.decode(payload, name) for name, payload in needed.items()}
        ).needs_child

    async def condition(self, expression: Expression, payloads: Mapping[str, Payload]) -> bool:
        """The value of a condition.

        Raises:
            InvalidInput, StepFailed: As `evaluate`, or it is no boolean.
        """
        return expression.as_bool(await self.evaluate(expression, payloads))

    async def render(self, config: Mapping[str, Any], payloads: Mapping[str, Payload]) -> Any:
        """A config with the values put into its templates.

        Raises:
            InvalidInput, StepFailed: A template has no value.
        """
        if not any(True for _ in expressions(config)):
            return config
        needed = {name: payloads[name] for name in sorted(template_names(config)) if name in payloads}
        if _renders_here(config, needed):
            return render(config, {name: self.decode(payload, name) for name, payload in needed.items()})
        return await self._in_step({"config": as_payload(config), "values": object_of(needed)})

    async def _in_step(self, call: Mapping[str, Payload]) -> Any:
        self._calls.ordinals[EVALUATE] += 1
        call_id = self._calls.own(f"{EVALUATE}-{self._calls.ordinals[EVALUATE]}")
        result = await self._calls.call(EVALUATE, call_id, [object_of(call)], StepOptions())
        return plain(result, call_id)

    def decode(self, payload: Payload, name: str) -> Any:
        """An output as a value, with Refs where it is large."""
        found = self._decoded.get(id(payload))
        if found is None:
            if len(self._decoded) >= _KEPT:
                self._decoded.clear()
            # The payload is kept too, so that its id stays its own.
            found = self._decoded[id(payload)] = (payload, plain(payload, f"The value of {name!r}"))
        return found[1]


def _renders_here(config: Mapping[str, Any], payloads: Mapping[str, Payload]) -> bool:
    """Whether workflow code may render a config itself."""
    if any(map(has_refs, payloads.values())) or any(found.has_macros for found in expressions(config)):
        return False
    return sum(len(payload.data) for payload in payloads.values()) <= MAX_BYTES_IN_PROCESS


def _named(expression: Expression, payloads: Mapping[str, Payload]) -> dict[str, Payload]:
    return {name: payloads[name] for name in sorted(expression.names) if name in payloads}
