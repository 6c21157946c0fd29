"""What the names of a file stand for: imports, functions, classes, variables, scope by scope."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from holdfast.spec.audit.code.tree import FunctionNode, inside, parameters


@dataclass(frozen=True)
class Imported:
    """A name from elsewhere: `datetime.datetime` for `from datetime import datetime as x`."""

    path: str


@dataclass
class Variable:
    """A name that is assigned to."""

    annotation: ast.expr | None = None
    values: list[ast.expr] = field(default_factory=list[ast.expr])
    """What plain assignments give it."""


@dataclass(eq=False)
class Function:
    """A function of the file."""

    node: FunctionNode
    scope: Scope
    """Its own names."""
    owner: Class | None
    """The class that it is a method of."""
    role: Literal["plain", "step", "entry"] = "plain"
    """An entry is run by the engine; a step is run elsewhere."""

    @property
    def title(self) -> str:
        """Its name, with its class."""
        return f"{self.owner.node.name}.{self.node.name}" if self.owner else self.node.name


@dataclass(eq=False)
class Class:
    """A class of the file."""

    node: ast.ClassDef
    scope: Scope
    """The names in its body."""
    methods: dict[str, Function] = field(default_factory=dict[str, Function])
    assigned: dict[str, list[tuple[Function, ast.expr | None, ast.expr | None]]] = field(
        default_factory=dict[str, list[tuple[Function, ast.expr | None, ast.expr | None]]]
    )
    """What methods assign to attributes of `self`: the method, the annotation, the value."""


Binding: TypeAlias = Imported | Variable | Function | Class


@dataclass(eq=False)
class Scope:
    """The names of one module, class or function."""

    outer: Scope | None
    is_class: bool = False
    bindings: dict[str, Binding] = field(default_factory=dict[str, Binding])
    globals: set[str] = field(default_factory=set[str])
    stars: list[str] = field(default_factory=list[str])
    """Modules of which all names are imported."""

    def visible(self) -> Iterator[Scope]:
        """The scopes in which a name is looked up, innermost first; classes around functions are left out."""
        scope: Scope | None = self
        while scope is not None:
            if scope is self or not scope.is_class:
                yield scope
            scope = scope.outer

    def find(self, name: str) -> tuple[Scope, Binding] | None:
        """What a name stands for, and where it is bound."""
        scopes = list(self.visible())
        for scope in scopes:
            if name in scope.globals:
                scope = scopes[-1]
            if (binding := scope.bindings.get(name)) is not None:
                return scope, binding
        return None


class Module:
    """The names, functions and classes of a file.

    Attributes:
        scope: The names of the module.
        functions: All functions, nested ones and methods included.
        classes: All classes.
        scopes: The scope of each function and lambda by its node.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.functions: dict[ast.AST, Function] = {}
        self.classes: list[Class] = []
        self.scope = Scope(None)
        todo: list[tuple[Sequence[ast.AST], Scope, Class | None, Function | None]] = [
            (tree.body, self.scope, None, None)
        ]
        while todo:
            body, scope, owner, function = todo.pop()
            for node in inside(body):
                _bind(node, scope)
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    own = Scope(scope)
                    made = Function(node, own, owner)
                    self.functions[node] = made
                    (owner.methods if owner else scope.bindings)[node.name] = made
                    _bind_parameters(node.args, own)
                    todo.append((node.body, own, None, made))
                elif isinstance(node, ast.ClassDef):
                    inner = Class(node, Scope(scope, is_class=True))
                    self.classes.append(inner)
                    scope.bindings[node.name] = inner
                    todo.append((node.body, inner.scope, inner, None))
                elif function is not None and function.owner is not None:
                    _bind_attribute(node, function, function.owner)


def lambda_scope(node: ast.Lambda, outer: Scope) -> Scope:
    """The scope of a lambda."""
    scope = Scope(outer)
    _bind_parameters(node.args, scope)
    return scope


def _bind_parameters(arguments: ast.arguments, scope: Scope) -> None:
    for argument in parameters(arguments):
        scope.bindings[argument.arg] = Variable(argument.annotation)


def _bind(node: ast.AST, scope: Scope) -> None:
    match node:
        case ast.Import(names=names):
            for alias in names:
                path = alias.name if alias.asname else alias.name.partition(".")[0]
                scope.bindings[alias.asname or path] = Imported(path)
        case ast.ImportFrom(module=module, names=names, level=level):
            path = "." * level + (module or "")
            for alias in names:
                if alias.name == "*":
                    scope.stars.append(path)
                else:
                    scope.bindings[alias.asname or alias.name] = Imported(f"{path}.{alias.name}")
        case ast.Global(names=names):
            scope.globals.update(names)
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                if isinstance(target, ast.Name):
                    _variable(target.id, scope).values.append(value)
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
            variable = _variable(name, scope)
            variable.annotation = annotation
            if value is not None:
                variable.values.append(value)
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            _variable(name, scope)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            _variable(name, scope)
        case ast.MatchMapping(rest=str(name)):
            _variable(name, scope)
        case _:
            pass


def _variable(name: str, scope: Scope) -> Variable:
    if name in scope.globals:
        return Variable()
    found = scope.bindings.get(name)
    if isinstance(found, Variable):
        return found
    if found is not None:  # `try: import x` / `except ImportError: x = None`: the import is what counts
        return Variable()
    made = Variable()
    scope.bindings[name] = made
    return made


def _bind_attribute(node: ast.AST, function: Function, owner: Class) -> None:
    positional = [*function.node.args.posonlyargs, *function.node.args.args]
    if not positional:
        return
    targets: list[ast.expr] = []
    annotation: ast.expr | None = None
    value: ast.expr | None = None
    match node:
        case ast.Assign():
            targets, value = node.targets, node.value
        case ast.AnnAssign():
            targets, annotation, value = [node.target], node.annotation, node.value
        case _:
            return
    for target in targets:
        match target:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == positional[0].arg:
                owner.assigned.setdefault(attribute, []).append((function, annotation, value))
            case _:
                pass
