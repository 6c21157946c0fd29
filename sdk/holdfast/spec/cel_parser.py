"""Parses expressions: the grammar of the Common Expression Language without messages.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from holdfast.spec.cel_ast import (
    Binary,
    Call,
    Conditional,
    Index,
    ListOf,
    Literal,
    Logic,
    Macro,
    MapOf,
    Name,
    Node,
    Select,
    Unary,
)
from holdfast.spec.cel_functions import FUNCTIONS
from holdfast.spec.cel_lexer import CelSyntaxError, Kind, Token, tokens
from holdfast.spec.cel_values import INT_MAX, INT_MIN
from holdfast.spec.names import CEL_WORDS

MAX_NESTING: Final = 64
"""How deep brackets and branches may nest: less than what Python's own stack bears."""

LEVELS: Final[tuple[frozenset[str], ...]] = (
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!=", "<", "<=", ">", ">=", "in"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)
"""The binary operators, the loosest first."""

PRECEDENCE: Final = {operator: level for level, operators in enumerate(LEVELS) for operator in operators}
MACROS: Final = {"all": (2,), "exists": (2,), "exists_one": (2,), "filter": (2,), "map": (2, 3)}
"""The macros with how many arguments they take."""

SPELLINGS: Final = {"existsOne": "exists_one"}
CONSTANTS: Final[dict[str, object]] = {"true": True, "false": False, "null": None}

_NO_FIELDS: Final = frozenset({*CONSTANTS, "in"})
_PATH: Final = re.compile(r"[A-Za-z_]\w*+(?:\.[A-Za-z_]\w*+)*+", re.ASCII)
"""A name with fields, as most templates are: large documents have thousands, and no parser is needed for them."""


def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
        CelSyntaxError: It is no expression; carries the position.
    """
    if _PATH.fullmatch(text):
        first, *fields = text.split(".")
        if first not in CEL_WORDS and not _NO_FIELDS & set(fields):
            return _path(first, fields)
    parser = _Parser(text)
    node = parser.expression()
    if parser.token.kind is not Kind.END:
        raise parser.unexpected("an operator or the end")
    return node


def _path(first: str, fields: Sequence[str]) -> Node:
    node: Node = Name(0, first)
    at = len(first) + 1
    for field in fields:
        node = Select(at, node, field)
        at += len(field) + 1
    return node


class _Parser:
    """A recursive descent over the tokens, one ahead."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.token: Token = next(self.tokens)
        self.depth = 0

    def advance(self) -> Token:
        token = self.token
        self.token = next(self.tokens)
        return token

    def has(self, sign: str) -> bool:
        return self.token.kind is Kind.SIGN and self.token.text == sign

    def take(self, sign: str) -> bool:
        found = self.has(sign)
        if found:
            self.advance()
        return found

    def expect(self, sign: str) -> Token:
        if not self.has(sign):
            raise self.unexpected(f"{sign!r}")
        return self.advance()

    def unexpected(self, wanted: str) -> CelSyntaxError:
        found = "the end" if self.token.kind is Kind.END else repr(self.token.text[:40])
        return CelSyntaxError(f"expected {wanted}, found {found}", self.token.at)

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise CelSyntaxError(f"it nests deeper than {MAX_NESTING}", self.token.at)
        node = self.binary(0)
        if self.has("?"):
            at = self.advance().at
            yes = self.binary(0)
            self.expect(":")
            node = Conditional(at, node, yes, self.expression())
        self.depth -= 1
        return node

    def binary(self, level: int) -> Node:
        """Operators that bind at least as tightly as `level`."""
        left = self.unary()
        while (found := PRECEDENCE.get(self.token.text, -1)) >= level and self.token.kind in (
            Kind.SIGN,
            Kind.NAME,
        ):
            operator = self.advance()
            right = self.binary(found + 1)
            if found > 1:
                left = Binary(operator.at, operator.text, left, right)
            elif isinstance(left, Logic) and left.operator == operator.text and not left.closed:
                left.operands.append(right)
            else:
                left = Logic(operator.at, operator.text, [left, right])
        return left

    def unary(self) -> Node:
        if not (self.has("!") or self.has("-")):
            return self.member()
        first = self.advance()
        count = 1
        while self.has(first.text):
            self.advance()
            count += 1
        token = self.token
        if first.text == "-" and token.kind is Kind.VALUE and type(token.value) is int:
            # The smallest integer can be written only with its sign.
            token.value, count = -token.value, count - 1
        node = self.member()
        for _ in range(count if count < 2 else 2 - count % 2):
            node = Unary(first.at, first.text, node)
        return node

    def member(self) -> Node:
        node = self.primary()
        while True:
            if self.has("["):
                at = self.advance().at
                node = Index(at, node, self.expression())
                self.expect("]")
            elif self.take("."):
                field = self.token
                if field.kind not in (Kind.NAME, Kind.QUOTED_NAME) or field.text in _NO_FIELDS:
                    raise self.unexpected("a field or a method")
                self.advance()
                if field.kind is Kind.NAME and self.has("("):
                    node = self.call(field, node)
                else:
                    node = Select(field.at, node, field.text)
            else:
                return node

    def primary(self) -> Node:
        token = self.token
        if token.kind is Kind.VALUE:
            self.advance()
            if type(token.value) is int and not INT_MIN <= token.value <= INT_MAX:
                raise CelSyntaxError(f"{token.text} does not fit 64 bits", token.at)
            return Literal(token.at, token.value)
        if token.kind is Kind.NAME:
            return self.named()
        if self.take("("):
            node = self.expression()
            self.expect(")")
            if isinstance(node, Logic):
                node.closed = True
            return node
        if self.take("["):
            return ListOf(token.at, self.listed("]"))
        if self.take("{"):
            return self.map_of(token.at)
        if self.take("."):
            if self.token.kind is not Kind.NAME:
                raise self.unexpected("a name")
            return self.named()
        raise self.unexpected("a value")

    def named(self) -> Node:
        token = self.advance()
        if token.text in CONSTANTS:
            return Literal(token.at, CONSTANTS[token.text])
        if token.text in CEL_WORDS:
            raise CelSyntaxError(f"{token.text!r} is a reserved word", token.at)
        if self.has("("):
            return self.call(token, None)
        if self.has("{"):
            raise CelSyntaxError("messages cannot be built here; use a map such as {'key': value}", token.at)
        return Name(token.at, token.text)

    def listed(self, end: str) -> list[Node]:
        """Expressions up to the closing bracket; lists and maps may end in a comma, calls may not."""
        items: list[Node] = []
        while not self.has(end):
            items.append(self.expression())
            if not self.take(","):
                break
            if end == ")" and self.has(end):
                raise self.unexpected("an argument")
        self.expect(end)
        return items

    def map_of(self, at: int) -> Node:
        node = MapOf(at, [], [])
        while not self.has("}"):
            node.keys.append(self.expression())
            self.expect(":")
            node.values.append(self.expression())
            if not self.take(","):
                break
        self.expect("}")
        return node

    def call(self, name: Token, target: Node | None) -> Node:
        self.expect("(")
        arguments = self.listed(")")
        if target is None and name.text == "has":
            return self.has_macro(name, arguments)
        kind = SPELLINGS.get(name.text, name.text)
        if target is not None and kind in MACROS:
            return self.macro(name, kind, target, arguments)
        method = target is not None
        if target is not None:
            arguments = [target, *arguments]
        function = FUNCTIONS.get(name.text)
        if function is None or not (function.method if method else function.plain):
            raise CelSyntaxError(_no_function(name.text, method), name.at)
        if not function.fewest <= len(arguments) <= function.most:
            least, most = function.fewest - method, function.most - method
            counts = str(least) if least == most else f"{least} to {most}"
            plural = "" if counts == "1" else "s"
            raise CelSyntaxError(
                f"{name.text}() takes {counts} argument{plural}, not {len(arguments) - method}", name.at
            )
        return Call(name.at, name.text, arguments, method)

    def has_macro(self, name: Token, arguments: list[Node]) -> Node:
        if len(arguments) != 1 or not isinstance(arguments[0], Select) or arguments[0].test:
            raise CelSyntaxError("has() takes one field, as in has(input.name)", name.at)
        return Select(name.at, arguments[0].operand, arguments[0].field, test=True)

    def macro(self, name: Token, kind: str, over: Node, arguments: list[Node]) -> Node:
        if len(arguments) not in MACROS[kind]:
            counts = " or ".join(map(str, MACROS[kind]))
            raise CelSyntaxError(f"{name.text}() takes {counts} arguments, not {len(arguments)}", name.at)
        variable = arguments[0]
        if not isinstance(variable, Name):
            raise CelSyntaxError(
                f"the first argument of {name.text}() is a name for the element", variable.at
            )
        condition = arguments[1] if len(arguments) == 3 else None
        return Macro(name.at, kind, over, variable.name, condition, arguments[-1])


def _no_function(name: str, method: bool) -> str:
    from difflib import get_close_matches

    known = [one for one, function in FUNCTIONS.items() if (function.method if method else function.plain)]
    known += MACROS if method else ["has"]
    near = get_close_matches(name, known, 1)
    word = "method" if method else "function"
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    return f"there is no {word} {name!r}; {hint}"
