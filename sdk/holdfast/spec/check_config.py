"""Types and configs of nodes: executors that exist, configs that fit their JSON Schemas, options that make sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from holdfast.spec.check_constants import time_problems
from holdfast.spec.check_graph import closest
from holdfast.spec.control import CONTROL_SCHEMAS, STEP_SCHEMA, UNSUITED
from holdfast.spec.finding import Finding
from holdfast.spec.model import DagSpec, NodeSpec
from holdfast.spec.names import STEP_TYPE
from holdfast.spec.schema_words import JsonSchema, Problem, Words, validator_of
from holdfast.spec.source import path_text

Validator: TypeAlias = Callable[[Any], list[Problem]]


def compile_schema(schema: JsonSchema | bool, *, templates: bool = True) -> Validator:
    """A function that lists what a value breaks. References outside the schema are never fetched.

    Args:
        schema: A JSON Schema.
        templates: Whether a `{{ }}` satisfies whatever stands in its place.

    Raises:
        ValueError: It is not a JSON Schema.
    """
    validator, words = validator_of(schema), Words(schema, templates)
    return lambda value: words.problems(validator.iter_errors(value))


def check_configs(
    spec: DagSpec, catalogue: Mapping[str, JsonSchema] | None, steps: Mapping[str, JsonSchema | None] | None
) -> Iterator[Finding]:
    """Findings about types, configs and options."""
    checks = _Configs(catalogue, steps)
    if spec.input_schema is not None:
        yield from checks.schema_problems(spec.input_schema, None, "input_schema")
    for index, node in enumerate(spec.nodes):
        path = f"nodes[{index}]"
        yield from checks.problems(node, node.type, node.config, path)
        for field in UNSUITED.get(node.type, ()):
            if getattr(node, field) is not None:
                yield _unsuited(node, field, f"a node of type {node.type!r}", path)
        if node.map is not None and node.loop is not None:
            yield _unsuited(node, "loop", "a node with `map`", path)
        if node.compensate is not None:
            below = f"{path}.compensate"
            if node.compensate.type in CONTROL_SCHEMAS:
                yield Finding(
                    code="HF-D030",
                    message=f"{node.compensate.type!r} cannot undo {node.id!r}",
                    fix="Name an executor; a sub-workflow compensates itself.",
                    node=node.id,
                    path=f"{below}.type",
                )
            else:
                yield from checks.problems(node, node.compensate.type, node.compensate.config, below)


def _unsuited(node: NodeSpec, field: str, holder: str, path: str) -> Finding:
    return Finding(
        code="HF-D032",
        message=f"{node.id!r} has {field!r}, which means nothing for {holder}",
        fix=f"Remove {field!r}, or move it to another node.",
        node=node.id,
        path=f"{path}.{field}",
    )


class _Configs:
    def __init__(
        self, catalogue: Mapping[str, JsonSchema] | None, steps: Mapping[str, JsonSchema | None] | None
    ) -> None:
        self._open = catalogue is None
        self._schemas = {**(catalogue or {}), **CONTROL_SCHEMAS, STEP_TYPE: STEP_SCHEMA}
        self._steps = steps
        self._compiled: dict[str, Validator] = {}

    def _validator(self, key: str, schema: JsonSchema) -> Validator:
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = compile_schema(schema)
        return found

    def problems(self, node: NodeSpec, kind: str, config: Mapping[str, Any], path: str) -> Iterator[Finding]:
        """What is wrong with a type and its config."""
        schema = self._schemas.get(kind)
        if schema is None:
            if not self._open:
                known = ", ".join(sorted(self._schemas)[:30])
                yield Finding(
                    code="HF-D030",
                    message=f"{node.id!r} has the type {kind!r}, which no worker offers; known: {known}",
                    fix=f"{closest(kind, self._schemas)}Use a known type, or start a worker that offers it.",
                    node=node.id,
                    path=f"{path}.type",
                )
            return
        yield from self._fit(node, f"type {kind}", schema, config, f"{path}.config", kind)
        if kind == STEP_TYPE:
            yield from self._step(node, config, f"{path}.config")
        for field, problem in time_problems(kind, config).items():
            yield Finding(
                code="HF-D045",
                message=f"{node.id!r}: {field}: {problem}",
                fix="Correct it, or write a template.",
                node=node.id,
                path=f"{path}.config.{field}",
            )
        if kind in ("wait", "approval"):
            for key in ("schema", "form"):
                if isinstance(inner := config.get(key), dict | bool):
                    yield from self.schema_problems(inner, node.id, f"{path}.config.{key}")

    def _fit(
        self, node: NodeSpec, key: str, schema: JsonSchema, value: Any, path: str, what: str
    ) -> Iterator[Finding]:
        try:
            validator = self._validator(key, schema)
        except ValueError as error:
            yield _bad_schema(f"the schema of {what!r} in the catalogue", str(error), node.id, path)
            return
        for message, below in validator(value):
            place = path_text([path, *below])
            yield Finding(
                code="HF-D031",
                message=f"{node.id!r}: {place.removeprefix(path).lstrip('.') or 'the config'}: {message}",
                fix=f"Write what {what!r} takes{self._more(what)}.",
                node=node.id,
                path=place,
            )

    def _more(self, what: str) -> str:
        is_executor = what in self._schemas and what not in CONTROL_SCHEMAS and what != STEP_TYPE
        return f"; `holdfast executors show {what}` says more" if is_executor else ""

    def _step(self, node: NodeSpec, config: Mapping[str, Any], path: str) -> Iterator[Finding]:
        name = config.get("step")
        if self._steps is None or not isinstance(name, str) or "{{" in name:
            return
        if name not in self._steps:
            yield Finding(
                code="HF-D030",
                message=f"{node.id!r} calls the step {name!r}, which no worker offers",
                fix=f"{closest(name, self._steps)}Name a known step, or start a worker that offers it.",
                node=node.id,
                path=f"{path}.step",
            )
        elif (schema := self._steps[name]) is not None:
            arguments = config.get("arguments", {})
            yield from self._fit(node, f"step {name}", schema, arguments, f"{path}.arguments", name)

    def schema_problems(self, schema: Any, node: str | None, path: str) -> Iterator[Finding]:
        """Whether a part of a document is a JSON Schema."""
        try:
            compile_schema(schema)
        except ValueError as error:
            yield _bad_schema(path, str(error), node, path)


def _bad_schema(what: str, reason: str, node: str | None, path: str) -> Finding:
    return Finding(
        code="HF-D044",
        message=f"{what} is not a JSON Schema: {reason}",
        fix="Write a JSON Schema (2020-12) without references to other files.",
        node=node,
        path=path,
    )
