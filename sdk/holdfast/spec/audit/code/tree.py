"""Walking over syntax trees without leaving a function, and without recursion."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def inside(roots: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """These nodes and all below them, in the order of the source; functions and classes are not entered."""
    stack = list(roots)[::-1]
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, BLOCKS):
            stack.extend(list(ast.iter_child_nodes(node))[::-1])


def awaits(roots: Iterable[ast.AST]) -> bool:
    """Whether a coroutine may be suspended, and so cancelled, in this code."""
    return any(
        isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)
        or (isinstance(node, ast.comprehension) and bool(node.is_async))
        for node in inside(roots)
    )


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters, in order."""
    variadic = [arg for arg in (arguments.vararg, arguments.kwarg) if arg is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *variadic]


def root_name(expression: ast.expr) -> ast.Name | None:
    """The variable at the bottom of `a.b[c].d`."""
    while isinstance(expression, ast.Attribute | ast.Subscript):
        expression = expression.value
    return expression if isinstance(expression, ast.Name) else None
