"""A picture in any of its forms."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from holdfast.errors import InvalidInput
from holdfast.spec.diagram.graph import DiagramGraph
from holdfast.spec.diagram.svg import to_svg
from holdfast.spec.diagram.text import to_text
from holdfast.spec.diagram.written import to_dot, to_mermaid

DiagramFormat: TypeAlias = Literal["text", "mermaid", "dot", "svg"]
"""Plain characters, a mermaid flowchart, Graphviz, one SVG document."""


def draw(graph: DiagramGraph, format: DiagramFormat, *, width: int = 120) -> str:
    """Draw a picture.

    Args:
        graph: The picture.
        format: Its form.
        width: The columns there are for text.

    Raises:
        InvalidInput: There is no such form.
    """
    match format:
        case "text":
            return to_text(graph, width=width)
        case "mermaid":
            return to_mermaid(graph)
        case "dot":
            return to_dot(graph)
        case "svg":
            return to_svg(graph)
        case _:
            raise InvalidInput(f"format={format!r}: use one of {', '.join(get_args(DiagramFormat))}")
