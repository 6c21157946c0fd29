"""Templates: the strings of a node's config with `{{ expressions }}` in them.

A string is parsed once and its values are put in once: what they hold, `{{` included, stays text. A string that is
nothing but one `{{ }}` becomes the value itself, of whatever type; in any other string the values are written as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from holdfast.errors import InvalidInput, PayloadTooLarge
from holdfast.spec.cel_lexer import CelSyntaxError, Kind, tokens
from holdfast.spec.cel_values import is_list, is_map
from holdfast.spec.expressions import Expression, TooCostly, compile, evaluate_anywhere

MAX_RENDERED_CHARS: Final = 50 * 1024 * 1024
"""The most text that all strings of a config may become together: what may go from step to step."""

MAX_CONFIG_DEPTH: Final = 100
"""The deepest config."""

Evaluate = Callable[[Expression, Mapping[str, object]], Any]
"""Gives the value of an expression over variables."""

_PLAIN: Final = re.compile(r"""[^{}"'`/]*+\}\}""")
"""What an expression without strings, maps and comments ends with: its closing `}}` is the first one."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed string. Made by `parse`.

    Attributes:
        text: The string as written.
        parts: Its text and its expressions in order.
    """

    text: str
    parts: tuple[str | Expression, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """What stands inside its `{{ }}`."""
        return tuple(part for part in self.parts if isinstance(part, Expression))

    @property
    def is_value(self) -> bool:
        """Whether it is only one `{{ }}`, whose value keeps its type."""
        return len(self.parts) == 1 and isinstance(self.parts[0], Expression)


@lru_cache(maxsize=4096)
def parse(text: str) -> Template:
    """Parse a string; equal ones give the same object. Safe in a workflow.

    Raises:
        InvalidInput: A `{{` is not closed, or holds no expression.
    """
    parts: list[str | Expression] = []
    position = 0
    while (opening := text.find("{{", position)) >= 0:
        if opening > position:
            parts.append(text[position:opening])
        closing = _closing(text, opening)
        parts.append(compile(text[opening + 2 : closing]))
        position = closing + 2
    if position < len(text) or not text:
        parts.append(text[position:])
    return Template(text, tuple(parts))


def _closing(text: str, opening: int) -> int:
    """Where the `}}` of a `{{` stands: not inside a string or a map of the expression."""
    if plain := _PLAIN.match(text, opening + 2):
        return plain.end() - 2
    depth = 0
    try:
        for token in tokens(text, opening + 2):
            if token.kind is not Kind.SIGN:
                continue
            if token.text == "{":
                depth += 1
            elif token.text == "}" and depth:
                depth -= 1
            elif token.text == "}":
                if text.startswith("}}", token.at):
                    return token.at
                break
    except CelSyntaxError as error:
        raise _invalid(text, error.message, error.at) from None
    raise _invalid(text, "this {{ has no }}; to write {{ itself, put {{ '{{' }}", opening)


def _invalid(text: str, message: str, at: int) -> InvalidInput:
    shown = text if len(text) <= 200 else f"{text[:197]}..."
    return InvalidInput(f"template {shown!r}, position {at + 1}: {message}", template=shown, position=at)


def _strings(config: object, depth: int = 0) -> Iterator[str]:
    if depth > MAX_CONFIG_DEPTH:
        raise InvalidInput(f"the config nests deeper than {MAX_CONFIG_DEPTH}")
    if isinstance(config, str):
        yield config
    elif is_map(config):
        for below in config.values():
            yield from _strings(below, depth + 1)
    elif is_list(config):
        for below in config:
            yield from _strings(below, depth + 1)


def expressions(config: object) -> Iterator[Expression]:
    """All expressions in the strings of a config, however deep. Keys are never templates.

    Raises:
        InvalidInput: While iterating, at a string that is no template.
    """
    for text in _strings(config):
        if "{{" in text:
            yield from parse(text).expressions


def names(config: object) -> frozenset[str]:
    """The variables that a config refers to, `secrets` included.

    Raises:
        InvalidInput: A string in it is no template.
    """
    return frozenset[str]().union(*(expression.names for expression in expressions(config)))


def secrets(config: object) -> frozenset[str]:
    """The names of the secrets that a config uses.

    Raises:
        InvalidInput: A string in it is no template.
    """
    return frozenset[str]().union(*(expression.secrets for expression in expressions(config)))


def is_light(config: object, values: Mapping[str, object]) -> bool:
    """Whether rendering a config takes so little time that others may wait for it. What uses secrets is not looked
    into, and counts as heavy.

    Raises:
        InvalidInput: A string in it is no template.
    """
    try:
        return not any(
            expression.secrets or expression.cost(values).needs_child for expression in expressions(config)
        )
    except TooCostly:
        return False


def render(
    config: object,
    values: Mapping[str, object],
    *,
    secrets: Callable[[str], str] | None = None,
    evaluate: Evaluate = evaluate_anywhere,
    max_chars: int = MAX_RENDERED_CHARS,
) -> Any:
    """Put the values into a config. Blocks while a large expression is evaluated; for steps, not for workflows.

    Args:
        config: Plain JSON with templates in its strings.
        values: The variables as plain JSON.
        secrets: Gives the secret of a name. Called at this moment and only for those the config uses.
        evaluate: Gives the value of an expression. Default: `evaluate_anywhere`.
        max_chars: How long all strings may become together.

    Returns:
        A new config; large values inside it are not copied.

    Raises:
        InvalidInput: A string is no template, or an expression has no value.
        PayloadTooLarge: The strings become longer than that.
    """
    return _Rendering(values, secrets, evaluate, max_chars).render(config, 0)


class _Rendering:
    def __init__(
        self,
        values: Mapping[str, object],
        secrets: Callable[[str], str] | None,
        evaluate: Evaluate,
        max_chars: int,
    ) -> None:
        self.values = values
        self.secrets = secrets
        self.evaluate = evaluate
        self.max_chars = self.left = max_chars

    def render(self, config: object, depth: int) -> Any:
        if depth > MAX_CONFIG_DEPTH:
            raise InvalidInput(f"the config nests deeper than {MAX_CONFIG_DEPTH}")
        if isinstance(config, str):
            return self.string(config) if "{{" in config else config
        if is_map(config):
            return {key: self.render(below, depth + 1) for key, below in config.items()}
        if is_list(config):
            return [self.render(below, depth + 1) for below in config]
        return config

    def string(self, text: str) -> Any:
        template = parse(text)
        if template.is_value:
            return self.value(template.expressions[0])
        written: list[str] = []
        for part in template.parts:
            piece = part if isinstance(part, str) else as_text(self.value(part))
            self.left -= len(piece)
            if self.left < 0:
                raise PayloadTooLarge(f"the config becomes longer than {self.max_chars:,} characters")
            written.append(piece)
        return "".join(written)

    def value(self, expression: Expression) -> Any:
        values = self.values
        if expression.secrets:
            values = {**values, "secrets": self.reveal(expression)}
        return self.evaluate(expression, values)

    def reveal(self, expression: Expression) -> dict[str, str]:
        if self.secrets is None:
            raise InvalidInput(
                f"expression {expression.text!r}: no secrets are known here; they are only in the config of a step"
            )
        return {name: self.secrets(name) for name in sorted(expression.secrets)}


def as_text(value: object) -> str:
    """A value in the middle of a string: a string as it is, anything else as compact JSON.

    Raises:
        InvalidInput: JSON cannot say it.
    """
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidInput(
            f"a {type(value).__name__} in a template is no JSON value, or nests too deep"
        ) from None
