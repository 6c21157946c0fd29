"""What expressions refer to, as far as the file tells."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from holdfast.spec.audit.code.scope import Class, Function, Imported, Module, Scope, Variable
from holdfast.spec.audit.code.tree import parameters
from holdfast.spec.audit.code.values import (
    PATH_PARTS,
    PATHS,
    SET,
    SET_METHODS,
    SET_TYPES,
    ClassRef,
    External,
    FunctionRef,
    Object,
    Value,
)

_WRAPPERS: Final = frozenset(
    {
        *("typing.Optional", "typing.Annotated", "typing.Final", "typing.ClassVar", "typing.Awaitable"),
        *("typing_extensions.Annotated", "dataclasses.InitVar", "asyncio.Task"),
    }
)
"""Annotations that say something about the type in their brackets."""


@dataclass(eq=False)
class Frame:
    """Names in force while a function is looked at."""

    scope: Scope
    outer: Frame | None = None
    env: dict[str, Value] = field(default_factory=dict[str, Value])
    """What is known of its variables at this point."""
    function: Function | None = None
    receiver: Class | None = None


class Resolver:
    """Says what expressions of one file refer to."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._frame = Frame(module.scope)
        self._variables: dict[str, Value] = {}
        self._attributes: dict[tuple[Class, str], Value] = {}

    def frame(self, function: Function, receiver: Class | None, outer: Frame | None = None) -> Frame:
        """The frame in which a function's body starts."""
        frame = Frame(function.scope, outer or self._frame, function=function, receiver=receiver)
        given = parameters(function.node.args)
        for parameter in given:
            frame.env[parameter.arg] = self.annotated(parameter.annotation, self._frame)
        if receiver is not None and function.owner is not None and given:
            kinds = {value.path for value in self.decorators(function) if isinstance(value, External)}
            if "builtins.staticmethod" not in kinds:
                of_class = "builtins.classmethod" in kinds or function.node.name == "__new__"
                frame.env[given[0].arg] = ClassRef(receiver) if of_class else Object(receiver)
        return frame

    def decorators(self, function: Function) -> list[Value]:
        """What a function is decorated with; calls stand for what is called."""
        frame = self._frame if function.scope.outer is None else Frame(function.scope.outer, self._frame)
        found = function.node.decorator_list
        return [self.value(node.func if isinstance(node, ast.Call) else node, frame) for node in found]

    def bases(self, cls: Class, seen: frozenset[Class] = frozenset()) -> Iterator[Class]:
        """A class and the classes of the file that it inherits from."""
        if cls in seen:
            return
        yield cls
        for base in cls.node.bases:
            written = base.value if isinstance(base, ast.Subscript) else base
            if isinstance(found := self.value(written, self._frame), ClassRef):
                yield from self.bases(found.cls, seen | {cls})

    def method(self, cls: Class, name: str, after: Class | None = None) -> Function | None:
        """The method of that name."""
        order = list(self.bases(cls))
        start = order.index(after) + 1 if after in order else 0
        return next((base.methods[name] for base in order[start:] if name in base.methods), None)

    def value(self, node: ast.expr | None, frame: Frame) -> Value:
        """What an expression refers to."""
        match node:
            case ast.Name(id=name):
                return self._name(name, frame)
            case ast.Attribute(value=below, attr=name):
                return self._attribute(self.value(below, frame), name)
            case ast.Call():
                return self._result(node, frame)
            case ast.Await(value=below) | ast.NamedExpr(value=below):
                return self.value(below, frame)
            case ast.Set() | ast.SetComp():
                return SET
            case ast.BinOp():
                return self._operation(node, frame)
            case ast.IfExp(body=body, orelse=orelse):
                return self._either([body, orelse], frame)
            case ast.BoolOp(values=values):
                return self._either(values, frame)
            case _:
                return None

    def annotated(self, annotation: ast.expr | None, frame: Frame) -> Value:
        """What a variable of this annotation holds."""
        match annotation:
            case ast.Constant(value=str(text)):
                try:
                    return self.annotated(ast.parse(text, mode="eval").body, frame)
                except (SyntaxError, ValueError):
                    return None
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self.annotated(left, frame) or self.annotated(right, frame)
            case ast.Subscript(value=base, slice=inner):
                held = self.annotated(base, frame)
                if isinstance(held, External) and held.path in _WRAPPERS:
                    first = inner.elts[0] if isinstance(inner, ast.Tuple) and inner.elts else inner
                    return self.annotated(first, frame)
                return held
            case ast.Name() | ast.Attribute():
                found = self.value(annotation, frame)
                if isinstance(found, ClassRef):
                    return Object(found.cls)
                if isinstance(found, External):
                    return SET if found.path in SET_TYPES else External(found.path, instance=True)
                return None
            case _:
                return None

    def attribute_of(self, cls: Class, name: str) -> Value:
        """What an attribute of an object of the file holds."""
        if (cls, name) not in self._attributes:
            self._attributes[cls, name] = None  # for attributes that are made of each other
            self._attributes[cls, name] = self._find_attribute(cls, name)
        return self._attributes[cls, name]

    def _find_attribute(self, cls: Class, name: str) -> Value:
        for base in self.bases(cls):
            for function, annotation, value in base.assigned.get(name, ()):
                frame = self.frame(function, base)
                if (found := self.annotated(annotation, frame) or self.value(value, frame)) is not None:
                    return found
            written = base.scope.bindings.get(name)
            if isinstance(written, Variable):
                return self._written(written)
            if isinstance(written, Class):
                return ClassRef(written)
        return None

    def _written(self, variable: Variable) -> Value:
        if (found := self.annotated(variable.annotation, self._frame)) is not None:
            return found
        return self.value(variable.values[-1], self._frame) if variable.values else None

    def _name(self, name: str, frame: Frame) -> Value:
        found = frame.scope.find(name)
        if found is None:
            return self._unbound(name)
        scope, binding = found
        match binding:
            case Imported(path=path):
                return External(path)
            case Function():
                return FunctionRef(binding)
            case Class():
                return ClassRef(binding)
            case Variable() if scope is self._module.scope:
                if name not in self._variables:
                    self._variables[name] = None  # for variables that are made of themselves
                    self._variables[name] = self._written(binding)
                return self._variables[name]
            case Variable():
                holder: Frame | None = frame
                while holder is not None and holder.scope is not scope:
                    holder = holder.outer
                return holder.env.get(name) if holder is not None else None

    def _unbound(self, name: str) -> Value:
        if hasattr(builtins, name):
            return External(f"builtins.{name}")
        stars = self._module.scope.stars
        return External(f"{stars[-1]}.{name}") if len(stars) == 1 else None

    def _attribute(self, value: Value, name: str) -> Value:
        match value:
            case External(path=path):
                if path in PATHS and name in PATH_PARTS:
                    return External(path, instance=True)
                return External(f"{path}.{name}")
            case ClassRef(cls=cls):
                method = self.method(cls, name)
                return FunctionRef(method, cls) if method else self.attribute_of(cls, name)
            case Object(cls=cls, after=after):
                method = self.method(cls, name, after)
                return FunctionRef(method, cls) if method else self.attribute_of(cls, name)
            case FunctionRef():
                return value if name in ("fn", "with_options") else None
            case None:
                return None
            case _:
                return External(f"builtins.set.{name}")

    def _result(self, call: ast.Call, frame: Frame) -> Value:
        called = self.value(call.func, frame)
        match called:
            case ClassRef(cls=cls):
                return Object(cls)
            case FunctionRef(function=function):
                return self.annotated(function.node.returns, self._frame)
            case External(path=path):
                return self._external_result(path, call, frame)
            case _:
                return None

    def _external_result(self, path: str, call: ast.Call, frame: Frame) -> Value:
        match path.removeprefix("builtins."), call.args:
            case (("set" | "frozenset"), _):
                return SET
            case "super", _:
                if frame.receiver is None or frame.function is None or frame.function.owner is None:
                    return None
                return Object(frame.receiver, after=frame.function.owner)
            case "getattr", [base, ast.Constant(value=str(name)), *_]:
                return self._attribute(self.value(base, frame), name)
            case (("__import__" | "importlib.import_module"), [ast.Constant(value=str(name)), *_]):
                return External(name)
            case "typing.cast", [kind, _]:
                return self.annotated(kind, frame)
            case _:
                pass
        holder, _, name = path.rpartition(".")
        if holder == "builtins.set" and name in SET_METHODS:
            return SET
        if name in PATH_PARTS and holder in PATHS:
            return External(holder, instance=True)
        if path in PATHS or name[:1].isupper():
            return External(path, instance=True)
        return External(f"{path}()")

    def _operation(self, node: ast.BinOp, frame: Frame) -> Value:
        left = self.value(node.left, frame)
        if isinstance(node.op, ast.Div):
            return left if isinstance(left, External) and left.path in PATHS else None
        if not isinstance(node.op, ast.BitOr | ast.BitAnd | ast.BitXor | ast.Sub):
            return None
        if left is SET or _is_view(node.left):
            return SET
        right = self.value(node.right, frame)
        return SET if right is SET and not isinstance(node.op, ast.Sub) else None

    def _either(self, choices: list[ast.expr], frame: Frame) -> Value:
        found = [self.value(choice, frame) for choice in choices]
        return SET if SET in found else next((value for value in found if value is not None), None)


def _is_view(node: ast.expr) -> bool:
    """Whether it is `x.keys()` or `x.items()`, of which `&` and `-` make sets."""
    match node:
        case ast.Call(func=ast.Attribute(attr="keys" | "items"), args=[]):
            return True
        case _:
            return False
