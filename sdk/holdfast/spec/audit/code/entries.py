"""Which functions of a file are workflow code that the engine calls, and which are steps."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from holdfast.spec.audit.code.hit import Hit
from holdfast.spec.audit.code.resolve import Frame, Resolver
from holdfast.spec.audit.code.scope import Class, Function, Module
from holdfast.spec.audit.code.tree import inside
from holdfast.spec.audit.code.values import External, FunctionRef, Value

_WORKFLOW: Final = frozenset({"holdfast.workflow", "holdfast.authoring.workflow.workflow"})
_STEP: Final = frozenset({"holdfast.step", "holdfast.authoring.step.step", "temporalio.activity.defn"})
_DAG_METHODS: Final = (".step", ".map", ".compensate")
_DAG: Final = frozenset({"holdfast.Dag", "holdfast.authoring.dag.Dag"})
_TEMPORAL: Final = "temporalio.workflow."
_TEMPORAL_HANDLERS: Final = frozenset({"run", "signal", "query", "update", "init"})

HOLDFAST: Final[Mapping[str, str]] = {
    "now": "holdfast.now()",
    "random": "holdfast.random()",
    "uuid4": "holdfast.uuid4()",
    "step": "a @step",
}
TEMPORAL: Final[Mapping[str, str]] = {
    "now": "workflow.now()",
    "random": "workflow.random()",
    "uuid4": "workflow.uuid4()",
    "step": "an activity",
}


@dataclass(frozen=True)
class Entry:
    """A function that the engine calls inside a run."""

    workflow: str
    """The function or class that defines the workflow."""
    function: Function
    receiver: Class | None
    words: Mapping[str, str]
    """What to use in place of what it may not use."""


def find_entries(module: Module, resolver: Resolver) -> list[Entry]:
    """All entries, in the order of the file. Gives every function its role."""
    entries: list[Entry] = []
    decorators = {function: resolver.decorators(function) for function in module.functions.values()}
    workflows: dict[Function, str] = {}
    for function, values in decorators.items():
        paths = {value.path for value in values if isinstance(value, External)}
        if paths & _WORKFLOW:
            workflows[function] = function.node.name
        elif any(path in _STEP or path.endswith(_DAG_METHODS) for path in paths):
            function.role = "step"
    for function in decorators:
        for base, name in _methods_used(function, module, resolver):
            if name == "compensate":
                function.role = "step"
            elif base in workflows and name in ("query", "update"):
                entries.append(Entry(workflows[base], function, None, HOLDFAST))
            elif base is None and name in ("step", "map") and function.role == "plain":
                function.role = "step"
    entries += [Entry(name, function, None, HOLDFAST) for function, name in workflows.items()]
    for cls in module.classes:
        if any(_path(value) == f"{_TEMPORAL}defn" for value in _class_decorators(cls, module, resolver)):
            entries += _of_class(cls, resolver, decorators)
    for entry in entries:
        entry.function.role = "entry"
    return sorted(entries, key=lambda entry: entry.function.node.lineno)


def local_steps(module: Module, resolver: Resolver) -> Iterator[Hit]:
    """Local steps that are not stated to be idempotent."""
    for function in module.functions.values():
        frame = Frame(function.scope.outer or module.scope)
        for decorator in function.node.decorator_list:
            if not isinstance(decorator, ast.Call):
                continue
            path = _path(resolver.value(decorator.func, frame)) or ""
            if path not in _STEP and not path.endswith(_DAG_METHODS[:2]):
                continue
            given = {keyword.arg: keyword.value for keyword in decorator.keywords}
            if _is_true(given.get("local")) and not _is_true(given.get("idempotent")):
                yield Hit(
                    "HF-A013",
                    decorator,
                    f"{function.node.name!r} is local: after a crash it may run again, also when it had completed",
                    "Make it idempotent and say so (`idempotent=True`), or take `local` out.",
                )


def _methods_used(
    function: Function, module: Module, resolver: Resolver
) -> Iterator[tuple[Function | None, str]]:
    """The decorators `@name.method` of a function: what `name` is, if it is a function of the file."""
    frame = Frame(function.scope.outer or module.scope)
    for decorator in function.node.decorator_list:
        written = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(written, ast.Attribute):
            base = resolver.value(written.value, frame)
            yield base.function if isinstance(base, FunctionRef) else None, written.attr


def _class_decorators(cls: Class, module: Module, resolver: Resolver) -> list[Value]:
    frame = Frame(cls.scope.outer or module.scope)
    return [
        resolver.value(node.func if isinstance(node, ast.Call) else node, frame)
        for node in cls.node.decorator_list
    ]


def _of_class(cls: Class, resolver: Resolver, decorators: Mapping[Function, list[Value]]) -> Iterator[Entry]:
    seen: set[str] = set()
    for base in resolver.bases(cls):
        for name, method in base.methods.items():
            if name in seen:
                continue
            paths = {_path(value) or "" for value in decorators[method]}
            validates = any(
                isinstance(node, ast.Attribute) and node.attr == "validator"
                for node in method.node.decorator_list
            )
            handles = any(
                path.startswith(_TEMPORAL) and path.removeprefix(_TEMPORAL) in _TEMPORAL_HANDLERS
                for path in paths
            )
            if handles or validates or name == "__init__":
                seen.add(name)
                yield Entry(cls.node.name, method, cls, TEMPORAL)


def _path(value: Value) -> str | None:
    return value.path if isinstance(value, External) else None


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def makes_dag(tree: ast.Module, module: Module, resolver: Resolver) -> bool:
    """Whether a `Dag` is made when the file is imported."""
    frame = Frame(module.scope)
    return any(
        _path(resolver.value(node.func, frame)) in _DAG
        for node in inside(tree.body)
        if isinstance(node, ast.Call)
    )
