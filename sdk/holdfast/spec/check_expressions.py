"""Expressions and templates: that they compile, and name only what is there when they are evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from pydantic import JsonValue

from holdfast.errors import InvalidInput
from holdfast.spec import expressions as cel
from holdfast.spec import templates
from holdfast.spec.check_constants import Wanted, constant_problem
from holdfast.spec.check_graph import closest
from holdfast.spec.finding import Finding
from holdfast.spec.graph import Graph
from holdfast.spec.model import DagSpec, NodeSpec
from holdfast.spec.names import CONTROL_TYPES, STEP_TYPE
from holdfast.spec.source import path_text

ALWAYS = frozenset({"input", "variables"})
"""What every expression may name."""


class Compiled(Protocol):
    """An expression that compiles."""

    @property
    def names(self) -> frozenset[str]:
        """The variables that it uses, without what follows their first dot."""
        ...


class Expressions(Protocol):
    """An expression language."""

    def compile(self, text: str) -> Compiled:
        """Compile an expression.

        Raises:
            InvalidInput: It does not compile.
        """
        ...

    def template(self, text: str) -> Sequence[Compiled]:
        """The expressions inside the `{{ }}` of a string.

        Raises:
            InvalidInput: One does not compile, or is not closed.
        """
        ...


class Use(NamedTuple):
    """A text with expressions, and what it may name."""

    text: str
    is_template: bool
    path: tuple[str | int, ...]
    node: NodeSpec | None
    """Whose ancestors it may name; `None` for the output, which may name every node."""
    extra: frozenset[str]
    """What else it may name: `item`, `secrets`, the node itself."""
    stored: bool
    """Whether the run evaluates or keeps it, or hands it to a step, which may: secrets may not be in it."""
    wanted: Wanted = "value"


def uses(spec: DagSpec) -> Iterator[Use]:
    """Every expression and every template of a document."""
    for index, node in enumerate(spec.nodes):
        path = ("nodes", index)
        items = frozenset({node.map.item_name, "index"}) if node.map else frozenset[str]()
        rounds = frozenset({node.id, "iteration"}) if node.loop else frozenset[str]()
        if node.when is not None:
            yield Use(node.when, False, (*path, "when"), node, frozenset(), True, "condition")
        if node.map is not None:
            yield Use(node.map.over, False, (*path, "map", "over"), node, frozenset(), True, "items")
        if node.loop is not None:
            yield Use(node.loop.while_, False, (*path, "loop", "while"), node, rounds, True, "condition")
        stored = node.type in CONTROL_TYPES or node.type == STEP_TYPE
        if node.type == "switch":
            yield from _switch_uses(node, path)
        else:
            for place, text in _templates(_own_config(node), (*path, "config")):
                yield Use(text, True, place, node, items | rounds, stored)
        if node.compensate is not None:
            below = (*path, "compensate", "config")
            for place, text in _templates(node.compensate.config, below):
                yield Use(text, True, place, node, items | {node.id}, node.compensate.type == STEP_TYPE)
    if spec.output is not None:
        yield Use(spec.output, False, ("output",), None, frozenset(), True)


def _own_config(node: NodeSpec) -> dict[str, JsonValue]:
    """The config without the document that a node holds, which is checked by itself."""
    if node.type != "workflow" or not isinstance(node.config.get("workflow"), dict):
        return node.config
    return {key: below for key, below in node.config.items() if key != "workflow"}


def _switch_uses(node: NodeSpec, path: tuple[str | int, ...]) -> Iterator[Use]:
    cases = node.config.get("cases")
    for index, case in enumerate(cases if isinstance(cases, list) else []):
        if isinstance(case, dict) and isinstance(when := case.get("when"), str):
            place = (*path, "config", "cases", index, "when")
            yield Use(when, False, place, node, frozenset(), True, "condition")


def _templates(value: JsonValue, path: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], str]]:
    """The strings with `{{` in them, with their places."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, below in members:
        if isinstance(below, str):
            if "{{" in below:
                found.append(((*path, key), below))
        elif isinstance(below, dict | list):
            found += _templates(below, (*path, key))
    return found


def check_expressions(spec: DagSpec, graph: Graph, expressions: Expressions | None) -> Iterator[Finding]:
    """Findings about expressions."""
    language = expressions or _CEL
    as_expressions: dict[str, frozenset[str] | str] = {}
    as_templates: dict[str, frozenset[str] | str] = {}
    for use in uses(spec):
        compiled = as_templates if use.is_template else as_expressions
        names = compiled.get(use.text)
        if names is None:
            names = compiled[use.text] = _names(language, use)
        if isinstance(names, str):
            yield Finding(
                code="HF-D040",
                message=f"{path_text(use.path)}: {names}",
                fix="Write a CEL expression" + (" inside {{ }}." if use.is_template else "."),
                node=use.node.id if use.node else None,
                path=path_text(use.path),
            )
        elif not names and not use.is_template and expressions is None:
            if problem := constant_problem(use.text, use.wanted):
                yield Finding(
                    code="HF-D045",
                    message=f"{path_text(use.path)}: {problem}",
                    fix="Correct it, or name what it depends on.",
                    node=use.node.id if use.node else None,
                    path=path_text(use.path),
                )
        else:
            for name in sorted(names - ALWAYS - use.extra):
                if finding := _wrong_name(spec, graph, use, name):
                    yield finding


def referenced(spec: DagSpec, expressions: Expressions | None = None) -> dict[str, set[str]]:
    """The nodes that each node's expressions and templates name, as far as they compile."""
    language = expressions or _CEL
    found: dict[str, set[str]] = {}
    for use in uses(spec):
        if use.node is not None and not isinstance(names := _names(language, use), str):
            found.setdefault(use.node.id, set()).update((names - use.extra) & spec.by_id.keys())
    return found


def _names(language: Expressions, use: Use) -> frozenset[str] | str:
    """The names that a text uses, or why it does not compile."""
    try:
        if use.is_template:
            return frozenset[str]().union(*(found.names for found in language.template(use.text)))
        return language.compile(use.text).names
    except InvalidInput as error:
        return error.message


def _wrong_name(spec: DagSpec, graph: Graph, use: Use, name: str) -> Finding | None:
    node = use.node.id if use.node else None
    if name in spec.by_id and (
        node is None or name in spec.dependencies[node] or graph.is_ancestor(name, node)
    ):
        return None
    place = path_text(use.path)
    if name == "secrets":
        if use.is_template and not use.stored:
            return None
        return Finding(
            code="HF-D043",
            message=f"{place} uses `secrets`, which could get into the run's history there",
            fix="Use secrets only inside {{ }} in the config of an executor; a step reads its own.",
            node=node,
            path=place,
        )
    if name not in spec.by_id:
        return Finding(
            code="HF-D041",
            message=f"{place} uses {name!r}, which does not exist there",
            fix=f"{closest(name, spec.by_id)}There is: {_existing(graph, use)}.",
            node=node,
            path=place,
        )
    if node is None:
        return None
    if name == node:
        fix = "Only a loop's condition, a looped node's config and a compensation may use the node's own output."
    elif node not in graph.order_positions or name not in graph.order_positions:
        return None  # the cycle in front of it is reported; whether this is an ancestor shows when that is mended
    elif graph.is_ancestor(node, name):
        fix = f"{name!r} runs after {node!r}; turn one of the dependencies around."
    else:
        fix = f"Add {name!r} to the depends_on of {node!r}."
    return Finding(
        code="HF-D042",
        message=f"{place} uses {name!r}, which may not have run by then: {node!r} does not depend on it",
        fix=fix,
        node=node,
        path=place,
    )


def _existing(graph: Graph, use: Use) -> str:
    names: list[str] = sorted(ALWAYS | use.extra)
    if use.node is None:
        names += graph.ids[:20]
    elif use.node.id in graph.order_positions:
        names += sorted(graph.ancestors(use.node.id))[:20]
    return ", ".join(names)


class _Cel:
    def compile(self, text: str) -> Compiled:
        return cel.compile(text)

    def template(self, text: str) -> Sequence[Compiled]:
        return templates.parse(text).expressions


_CEL: Final = _Cel()
"""The language of documents."""
