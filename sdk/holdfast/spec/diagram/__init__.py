"""Pictures of DAGs and of runs: mermaid, dot, plain text, SVG. Every label is untrusted and escaped."""

from holdfast.spec.diagram.form import DiagramFormat as DiagramFormat
from holdfast.spec.diagram.form import draw as draw
from holdfast.spec.diagram.graph import DiagramEdge as DiagramEdge
from holdfast.spec.diagram.graph import DiagramGraph as DiagramGraph
from holdfast.spec.diagram.graph import DiagramNode as DiagramNode
from holdfast.spec.diagram.graph import NodeStatus as NodeStatus
from holdfast.spec.diagram.graph import of_spec as of_spec
from holdfast.spec.diagram.layout import Box as Box
from holdfast.spec.diagram.layout import Layout as Layout
from holdfast.spec.diagram.layout import Line as Line
from holdfast.spec.diagram.layout import layered as layered
from holdfast.spec.diagram.svg import to_svg as to_svg
from holdfast.spec.diagram.text import to_text as to_text
from holdfast.spec.diagram.written import to_dot as to_dot
from holdfast.spec.diagram.written import to_mermaid as to_mermaid

__all__ = [
    "Box",
    "DiagramEdge",
    "DiagramFormat",
    "DiagramGraph",
    "DiagramNode",
    "Layout",
    "Line",
    "NodeStatus",
    "draw",
    "layered",
    "of_spec",
    "to_dot",
    "to_mermaid",
    "to_svg",
    "to_text",
]
