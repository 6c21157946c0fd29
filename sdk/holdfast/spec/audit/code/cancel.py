"""Cancellation that a workflow swallows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from holdfast.spec.audit.code.hit import Hit
from holdfast.spec.audit.code.tree import awaits, inside

PathOf: TypeAlias = Callable[[ast.expr], str | None]

CODE: Final = "HF-A028"
_FIX: Final = "Catch Exception, or raise again at the end of the handler: `raise`."

_CANCELLATION: Final = frozenset(
    {
        *("builtins.BaseException", "asyncio.CancelledError", "asyncio.exceptions.CancelledError"),
        "concurrent.futures.CancelledError",
    }
)


def check_try(node: ast.Try | ast.TryStar, path_of: PathOf, cancelled: frozenset[str]) -> Iterator[Hit]:
    """Handlers that end a cancellation without anybody knowing.

    Args:
        node: The statement.
        path_of: What an expression refers to.
        cancelled: Names of tasks that the function cancels itself, so that it waits for their cancellation.
    """
    if not awaits(node.body):
        return
    for statement in inside(node.finalbody):
        if isinstance(statement, ast.Return):
            yield Hit(CODE, statement, "`return` in `finally` swallows a cancellation", "Return after it.")
    if _waits_for(node.body, cancelled):
        return
    for handler in node.handlers:
        if not _catches(handler.type, path_of):
            continue
        if not raises(handler):
            written = f"except {ast.unparse(handler.type)}" if handler.type else "a bare except"
            message = f"{written} swallows the cancellation of the run: it would go on as if nobody had asked"
            yield Hit(CODE, handler, message, _FIX)
        return  # what comes later never sees a cancellation


def raises(handler: ast.ExceptHandler) -> bool:
    """Whether a handler raises, the same or something else."""
    return any(isinstance(statement, ast.Raise) for statement in inside(handler.body))


def check_suppress(node: ast.With, path_of: PathOf, cancelled: frozenset[str]) -> Iterator[Hit]:
    """`with contextlib.suppress(...)` around something that may be cancelled."""
    if not awaits(node.body) or _waits_for(node.body, cancelled):
        return
    for item in node.items:
        call = item.context_expr
        if isinstance(call, ast.Call) and path_of(call.func) == "contextlib.suppress":
            for caught in call.args:
                if path_of(caught) in _CANCELLATION:
                    message = f"suppress({ast.unparse(caught)}) swallows the cancellation of the run"
                    yield Hit(CODE, call, message, "Suppress Exception, or what you expect.")


def cancelled_names(function: ast.AST) -> frozenset[str]:
    """The variables whose `cancel` a function calls."""
    found: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(value=target, attr="cancel")):
                found.add(ast.unparse(target))
            case _:
                pass
    return frozenset(found)


def _waits_for(body: list[ast.stmt], cancelled: frozenset[str]) -> bool:
    """Whether all that it awaits are tasks that the function has cancelled itself."""
    waited = [node.value for node in inside(body) if isinstance(node, ast.Await)]
    return bool(cancelled and waited) and all(
        bool(_awaited(value)) and _awaited(value) <= cancelled for value in waited
    )


def _awaited(value: ast.expr) -> set[str]:
    """What is awaited; for a call, such as `asyncio.gather(first, second)`, what it gets."""
    if not isinstance(value, ast.Call):
        return {ast.unparse(value)}
    return {ast.unparse(item.value if isinstance(item, ast.Starred) else item) for item in value.args}


def _catches(caught: ast.expr | None, path_of: PathOf) -> bool:
    if caught is None:
        return True
    return any(
        path_of(item) in _CANCELLATION
        for item in (caught.elts if isinstance(caught, ast.Tuple) else [caught])
    )
