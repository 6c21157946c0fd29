"""Pictures in the languages of other tools: mermaid and Graphviz dot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from holdfast.spec.diagram.graph import LOOKS, DiagramGraph, DiagramNode, Shape, one_line

Escape: TypeAlias = Callable[[str], str]

_MERMAID_SHAPES: Final[dict[Shape, tuple[str, str]]] = {
    "box": ("[", "]"),
    "diamond": ("{", "}"),
    "hexagon": ("{{", "}}"),
    "rounded": ("([", "])"),
    "stack": ("[[", "]]"),
    "double": ("[/", "/]"),
}
_DOT_SHAPES: Final[dict[Shape, str]] = {
    "box": "box",
    "diamond": "diamond",
    "hexagon": "hexagon",
    "rounded": "ellipse",
    "stack": "box3d",
    "double": "component",
}


def to_mermaid(graph: DiagramGraph) -> str:
    """The picture as a mermaid flowchart."""
    lines = ["flowchart TD"]
    for index, node in enumerate(graph.nodes):
        before, after = _MERMAID_SHAPES[node.shape]
        state = f":::{node.state}" if node.state else ""
        lines.append(f'    n{index}{before}"{_lines(node, _mermaid_text, "<br/>")}"{after}{state}')
    for source, target, label in graph.drawn_edges():
        arrow = f'-->|"{_mermaid_text(one_line(label))}"|' if one_line(label) else "-->"
        lines.append(f"    n{source} {arrow} n{target}")
    shown = {node.state for node in graph.nodes}
    lines += [
        f"    classDef {state} fill:{look.fill},stroke:{look.line},color:#0f172a"
        for state, look in LOOKS.items()
        if state in shown
    ]
    return "\n".join(lines) + "\n"


def to_dot(graph: DiagramGraph) -> str:
    """The picture in the language of Graphviz."""
    lines = [
        f"digraph {_dot_text(one_line(graph.title) or 'dag')} {{",
        '    node [fontname="sans-serif", style=filled];',
    ]
    for index, node in enumerate(graph.nodes):
        label = _lines(node, lambda text: _dot_text(text)[1:-1], "\\n")
        look = node.look
        lines.append(
            f'    n{index} [label="{label}", shape={_DOT_SHAPES[node.shape]}, '
            f'fillcolor="{look.fill}", color="{look.line}"];'
        )
    for source, target, label in graph.drawn_edges():
        shown = f" [label={_dot_text(one_line(label))}]" if one_line(label) else ""
        lines.append(f"    n{source} -> n{target}{shown};")
    return "\n".join([*lines, "}"]) + "\n"


def _lines(node: DiagramNode, escape: Escape, separator: str) -> str:
    detail = one_line(node.detail)
    return escape(node.title) + (separator + escape(detail) if detail else "")


_HARMLESS: Final = " .,-_▶↻…✓✗»↩⊘·\N{MULTIPLICATION SIGN}"


def _mermaid_text(text: str) -> str:
    """Everything but letters, digits and a few signs as mermaid's own entity codes: nothing can end the label, be
    markup or Markdown."""
    return "".join(char if char.isalnum() or char in _HARMLESS else f"#{ord(char)};" for char in text)


def _dot_text(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
