"""Expressions: what `when`, `switch`, `map.over`, `loop.while`, `output` and `{{ }}` hold.

The language is CEL, the Common Expression Language, with its standard functions and macros. It works on plain JSON and
is pure: no clock, no I/O, the same values give the same result, so that a workflow may evaluate it itself.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import Any, Final

from holdfast.errors import InvalidInput, Unavailable
from holdfast.spec import cel_cost
from holdfast.spec.cel_ast import Literal, Macro, Name, Node, Select, children
from holdfast.spec.cel_compile import TYPES, build
from holdfast.spec.cel_lexer import CelSyntaxError
from holdfast.spec.cel_macros import Run
from holdfast.spec.cel_parser import parse
from holdfast.spec.cel_values import CelError, OverLimit, Work, json_size, read, shown, to_json

MAX_EXPRESSION_CHARS: Final = 16_384
"""The longest expression."""

MAX_DEPTH: Final = 200
"""The deepest tree: less than what Python's own stack bears."""

MAX_ELEMENTS_IN_PROCESS: Final = 1_000
"""What macros may visit where they hold up others, such as in a workflow."""

MAX_BYTES_IN_PROCESS: Final = 64 * 1024
"""The largest values that are looked at there."""

MAX_ELEMENTS: Final = 1_000_000
"""What macros may visit at all."""

EFFORT_PER_ELEMENT: Final = 10_000
"""How much joining, searching and comparing is allowed for each element that may be visited: in a workflow about half a
second in all."""

CHILD_TIMEOUT: Final = timedelta(seconds=10)
"""The longest evaluation in a child process, if nothing else is said."""


class TooCostly(InvalidInput):
    """An expression visits more elements or moves more data than it may where it runs."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an evaluation takes at most.

    Attributes:
        elements: How often macros visit an element; a long body counts several times.
        size_bytes: The size of the variables as JSON, counted up to a little more than is allowed in a workflow.
        needs_child: Whether it belongs into a process of its own rather than into a workflow.
    """

    elements: int
    size_bytes: int

    @property
    def needs_child(self) -> bool:
        return self.elements > MAX_ELEMENTS_IN_PROCESS or self.size_bytes > MAX_BYTES_IN_PROCESS


class Expression:
    """A compiled expression. Made by `compile`; safe in a workflow.

    Attributes:
        text: The text, without what surrounds it.
        names: The variables it refers to, `secrets` included, without the ones its macros bind.
        secrets: The names `X` of all `secrets.X` in it: nothing that a workflow evaluates or keeps may have any.
        has_macros: Whether its cost depends on the sizes of lists.
        tree: Its syntax tree.
    """

    def __init__(self, text: str, tree: Node) -> None:
        self.text = text
        self.tree = tree
        found = _survey(tree)
        self.names = found.names
        self.secrets = found.secrets
        self.has_macros = found.has_macros

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    @cached_property
    def _run(self) -> Run:
        return build(self.tree)

    def evaluate(
        self,
        values: Mapping[str, object],
        *,
        max_elements: int = MAX_ELEMENTS_IN_PROCESS,
        max_effort: int | None = None,
    ) -> Any:
        """Evaluate it here and now. Safe in a workflow.

        Args:
            values: The variables as plain JSON; more than it refers to is fine.
            max_elements: How many elements its macros may visit, at most 1,000,000.
            max_effort: How many characters and values it may join, search or compare, each in at most 50 ns. Default:
                in proportion to `max_elements`.

        Returns:
            Plain JSON: times and durations are text, bytes base64. What it did not make is given back uncopied.

        Raises:
            TooCostly: It would take too long here; `evaluate_in_child` may do it.
            InvalidInput: A variable is missing, or it has no value: it divides by zero, mixes types, ...
        """
        try:
            return self._evaluate(values, max_elements, max_effort or max_elements * EFFORT_PER_ELEMENT)
        except CelError as error:
            failure: InvalidInput = self._error(error.message, error.at)
        except OverLimit as error:
            failure = self._too_costly(str(error))
        except RecursionError:
            failure = self._error("it nests deeper than the stack of this thread bears", None)
        # Raised out here, it carries no other exception, whose message may hold a secret.
        raise failure

    def _evaluate(self, values: Mapping[str, object], max_elements: int, max_effort: int) -> Any:
        self.check_names(values)
        variables = {name: read(values[name]) for name in self.names}
        work = Work(variables, max_elements, max_effort)
        return to_json(self._run(work), work)

    def evaluate_bool(
        self, values: Mapping[str, object], *, max_elements: int = MAX_ELEMENTS_IN_PROCESS
    ) -> bool:
        """Evaluate a condition, as `evaluate` does.

        Raises:
            InvalidInput: As `evaluate`, and when the result is no boolean.
        """
        return self.as_bool(self.evaluate(values, max_elements=max_elements))

    def as_bool(self, result: object) -> bool:
        """The result of a condition, checked.

        Raises:
            InvalidInput: It is no boolean.
        """
        if isinstance(result, bool):
            return result
        raise self._error(f"a condition must be true or false, not {shown(result)}", None)

    def check_names(self, values: Mapping[str, object]) -> None:
        """Refuse variables that it does not get, in branches that would not run as well.

        Raises:
            InvalidInput: One is missing; says which ones there are.
        """
        missing = [name for name in self.names if name not in values]
        if missing:
            name = min(missing)
            at = _first(self.tree, name)
            raise InvalidInput(
                _located(self.text, _missing(name, values), at), expression=self.text, position=at
            )

    def cost(self, values: Mapping[str, object]) -> Cost:
        """What evaluating it takes at most. Looks at the sizes of lists only; safe in a workflow.

        Raises:
            TooCostly: More than 1,000,000 elements: nothing may evaluate it.
            InvalidInput: A variable is missing.
        """
        self.check_names(values)
        wanted = {name: values[name] for name in self.names}
        count = 0
        if self.has_macros:
            try:
                count = cel_cost.elements(self.tree, wanted, MAX_ELEMENTS)
            except OverLimit as error:
                raise self._too_costly(str(error)) from None
            if count > MAX_ELEMENTS:
                number = f"{count:,}" if count < 10**18 else "more than 10^18"
                raise self._too_costly(f"it would visit {number} elements; {MAX_ELEMENTS:,} are allowed")
        size = 0
        for value in wanted.values():
            size += json_size(value, MAX_BYTES_IN_PROCESS)
        return Cost(elements=count, size_bytes=size)

    def _error(self, message: str, at: int | None) -> InvalidInput:
        if self.secrets:
            # A message may hold a piece of the value.
            message = "it failed, and the reason is not shown because it uses secrets"
        return InvalidInput(_located(self.text, message, at), expression=self.text, position=at)

    def _too_costly(self, message: str) -> TooCostly:
        return TooCostly(_located(self.text, message, None), expression=self.text)


def compile(text: str) -> Expression:
    """Compile an expression; equal texts give the same object. Safe in a workflow.

    Args:
        text: The expression, without `{{ }}`.

    Raises:
        InvalidInput: It is no expression; carries the text and the position.
    """
    return _compiled(text.strip())


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Expression:
    if len(text) > MAX_EXPRESSION_CHARS:
        message = (
            f"an expression may have at most {MAX_EXPRESSION_CHARS:,} characters, this one has {len(text):,}"
        )
        raise InvalidInput(f"{message}: {_short(text)!r}", expression=_short(text), position=None)
    try:
        return Expression(text, parse(text))
    except CelSyntaxError as error:
        message = _located(text, error.message, error.at)
        raise InvalidInput(message, expression=_short(text), position=error.at) from None


def evaluate_in_child(text: str, values: Mapping[str, object], timeout: timedelta = CHILD_TIMEOUT) -> Any:
    """Evaluate in a process of its own, which is ended when the time is over. Blocks; not for workflows.

    Args:
        text: The expression.
        values: The variables as plain JSON; only the ones it refers to are sent.
        timeout: For the evaluation; starting a process takes up to a second more, and more evaluations than the
            machine has cores wait for each other.

    Raises:
        TooCostly: It visits more than 1,000,000 elements, or is not ready in time.
        Unavailable: The process was ended from outside, such as for want of memory.
        InvalidInput: As `Expression.evaluate`.
    """
    from holdfast.spec.cel_child import ChildEnded, ChildTimedOut, run_in_child

    expression = compile(text)
    expression.check_names(values)
    sent = {name: values[name] for name in expression.names}
    try:
        return run_in_child(expression.text, sent, timeout)
    except ChildTimedOut:
        seconds = timeout.total_seconds()
        message = f"it was not ready after {seconds:g} s; let a step compute it instead"
        raise TooCostly(_located(expression.text, message, None), expression=expression.text) from None
    except ChildEnded:
        message = "the process that evaluated it was ended from outside; try again"
        raise Unavailable(_located(expression.text, message, None), expression=expression.text) from None


def evaluate_anywhere(
    expression: Expression, values: Mapping[str, object], timeout: timedelta = CHILD_TIMEOUT
) -> Any:
    """Evaluate here what is cheap and the rest in a child process. Blocks; not for workflows.

    Raises:
        TooCostly, Unavailable: As `evaluate_in_child`.
        InvalidInput: As `Expression.evaluate`.
    """
    if not (expression.has_macros and expression.cost(values).needs_child):
        try:
            return expression.evaluate(values)
        except TooCostly:
            pass  # more data than counted beforehand, such as strings that it joins
    return evaluate_in_child(expression.text, values, timeout)


@dataclass(slots=True)
class _Survey:
    names: frozenset[str]
    secrets: frozenset[str]
    has_macros: bool


def _survey(tree: Node) -> _Survey:
    """What an expression refers to; also the check of its depth and of how it uses secrets."""
    names: set[str] = set()
    secrets: set[str] = set()
    macros = False
    todo: list[tuple[Node, frozenset[str], int]] = [(tree, frozenset(), 1)]
    while todo:
        node, bound, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise CelSyntaxError(f"it nests deeper than {MAX_DEPTH}; use brackets or a step", node.at)
        if isinstance(node, Name):
            if node.name == "secrets" and node.name not in bound:
                raise CelSyntaxError("'secrets' is only used as secrets.NAME", node.at)
            if node.name not in bound and node.name not in TYPES:
                names.add(node.name)
        elif isinstance(node, Macro):
            macros = True
            todo.append((node.over, bound, depth + 1))
            inner = bound | {node.variable}
            todo.extend([(child, inner, depth + 1) for child in children(node)[1:]])
        elif isinstance(node, Select):
            operand = node.operand
            if (
                isinstance(operand, Name)
                and operand.name == "secrets"
                and not node.test
                and "secrets" not in bound
            ):
                names.add("secrets")
                secrets.add(node.field)
            else:
                todo.append((operand, bound, depth + 1))
        elif not isinstance(node, Literal):
            todo.extend([(child, bound, depth + 1) for child in children(node)])
    return _Survey(frozenset(names), frozenset(secrets), macros)


def _first(tree: Node, name: str) -> int | None:
    """Where a name stands first."""
    found: list[int] = []
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, Name) and node.name == name:
            found.append(node.at)
        todo.extend(children(node))
    return min(found, default=None)


def _missing(name: str, values: Mapping[str, object]) -> str:
    from difflib import get_close_matches

    if name == "secrets":
        return "secrets are only there inside {{ }} of an executor's config"
    near = get_close_matches(name, values, 1)
    known = sorted(values)
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "") or "nothing"
    return (
        f"there is no {name!r} here; "
        + (f"did you mean {near[0]!r}? " if near else "")
        + f"there is {listed}"
    )


def _located(text: str, message: str, at: int | None) -> str:
    """A message with the expression and, where it is known, the place in it."""
    if at is None:
        return f"expression {_short(text)!r}: {message}"
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    place = f"column {column}" if line == 1 else f"line {line}, column {column}"
    return f"expression {_short(text, at)!r}, {place}: {message}"


def _short(text: str, at: int = 0) -> str:
    """A text, or the part around a position when it is long."""
    if len(text) <= 200:
        return text
    start = max(0, min(at - 100, len(text) - 200))
    return ("..." if start else "") + text[start : start + 200] + ("..." if start + 200 < len(text) else "")
