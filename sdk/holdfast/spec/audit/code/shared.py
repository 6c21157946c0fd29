"""State that outlives a run: what changes module variables and attributes of classes."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Final

from holdfast.spec.audit.code.resolve import Frame, Resolver
from holdfast.spec.audit.code.scope import Module, Variable
from holdfast.spec.audit.code.tree import inside, root_name
from holdfast.spec.audit.code.values import ClassRef, External, Object, words

CODE: Final = "HF-A027"

_MUTATORS: Final = words(
    "append extend insert remove pop popitem clear update setdefault add discard appendleft popleft extendleft sort "
    "reverse subtract intersection_update difference_update symmetric_difference_update move_to_end rotate"
)
_CONTAINERS: Final = frozenset(
    {
        *(f"builtins.{name}" for name in ("list", "dict", "set", "bytearray")),
        *(f"collections.{name}" for name in ("defaultdict", "deque", "Counter", "OrderedDict")),
        *("itertools.count", "itertools.cycle"),
    }
)


class Shared:
    """What of a file's globals changes.

    Attributes:
        changed: The line of the first change inside a function, by name; `Class.attribute` for attributes of classes.
    """

    def __init__(self, module: Module, resolver: Resolver) -> None:
        self._module = module
        self._resolver = resolver
        self.changed: dict[str, int] = {}
        for function in module.functions.values():
            frame = resolver.frame(function, function.owner)
            for node in inside(function.node.body):
                for name in self.changes(node, frame):
                    self.changed.setdefault(name, getattr(node, "lineno", 0))

    def changes(self, node: ast.AST, frame: Frame) -> Iterable[str]:
        """The shared names that a node changes."""
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if _is_global(name, frame):
                return [name]
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                return self._stored(node, frame)
            case ast.Call(func=ast.Attribute(value=target, attr=method)) if method in _MUTATORS:
                return self._mutated(target, frame)
            case ast.Call(func=ast.Name(id="next"), args=[target, *_]):
                return self._mutated(target, frame)
            case _:
                return []

    def variable(self, name: str, frame: Frame) -> Variable | None:
        """The variable of the module that a name stands for."""
        found = frame.scope.find(name)
        if found is None or found[0] is not self._module.scope or not isinstance(found[1], Variable):
            return None
        return found[1]

    def attribute(self, node: ast.Attribute, frame: Frame) -> str | None:
        """`Class.attribute`, if it is that of a class of the file itself, or one that all its objects share."""
        match self._resolver.value(node.value, frame):
            case ClassRef(cls=cls) if node.attr not in cls.methods:
                return f"{cls.node.name}.{node.attr}"
            case Object(cls=cls):
                for base in self._resolver.bases(cls):
                    if node.attr in base.assigned or base.node.bases:  # models copy what their class declares
                        return None
                    written = base.scope.bindings.get(node.attr)
                    if isinstance(written, Variable):
                        shared = self._is_container(written, Frame(base.scope, frame))
                        return f"{base.node.name}.{node.attr}" if shared else None
                return None
            case _:
                return None

    def _stored(self, node: ast.Attribute | ast.Subscript, frame: Frame) -> list[str]:
        if isinstance(node, ast.Attribute):
            if isinstance(self._resolver.value(node.value, frame), ClassRef):
                return [name] if (name := self.attribute(node, frame)) else []
        elif isinstance(node.value, ast.Attribute) and (name := self.attribute(node.value, frame)):
            return [name]
        root = root_name(node)
        if root is None:
            return []
        if self.variable(root.id, frame) is not None:
            return [root.id]
        # An attribute of an imported module: `settings.retries = 5`.
        imported = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        outside = frame.scope.find(root.id)
        if imported and outside is not None and not isinstance(outside[1], Variable):
            value = self._resolver.value(root, frame)
            return [root.id] if isinstance(value, External) and not value.instance else []
        return []

    def _mutated(self, target: ast.expr, frame: Frame) -> list[str]:
        if isinstance(target, ast.Attribute) and (name := self.attribute(target, frame)):
            return [name]
        root = root_name(target)
        if root is None or (variable := self.variable(root.id, frame)) is None:
            return []
        return [root.id] if self._is_container(variable, frame) else []

    def _is_container(self, variable: Variable, frame: Frame) -> bool:
        return any(self._makes_container(value, frame) for value in variable.values)

    def _makes_container(self, value: ast.expr, frame: Frame) -> bool:
        if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
            return True
        if not isinstance(value, ast.Call):
            return False
        called = self._resolver.value(value.func, frame)
        return isinstance(called, External) and called.path in _CONTAINERS


def _is_global(name: str, frame: Frame) -> bool:
    return any(name in scope.globals for scope in frame.scope.visible())
