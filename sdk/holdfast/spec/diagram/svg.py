"""A picture as one SVG document that stands alone: no script, no style sheet, no link."""

from __future__ import annotations

from xml.sax.saxutils import escape

from holdfast.spec.diagram.graph import DiagramGraph, one_line
from holdfast.spec.diagram.layout import (
    FONT_SIZE,
    MAX_DETAIL,
    SMALL_FONT_SIZE,
    SVG_METRICS,
    Box,
    Line,
    layered,
)
from holdfast.spec.diagram.measure import text_width

_MARGIN = 16


def to_svg(graph: DiagramGraph) -> str:
    """Draw a picture; states are shown by colour and by sign, and each box carries a tooltip."""
    layout = layered(graph)
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    title = _text(one_line(graph.title, 200) or "DAG")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-_MARGIN} {-_MARGIN} {width:.0f} {height:.0f}" role="img" font-family="sans-serif" '
        f'font-size="{FONT_SIZE:g}">',
        f"<title>{title}</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>',
        *map(_line, layout.lines),
        *map(_box, layout.boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(text: str) -> str:
    return escape(text, {'"': "&quot;", "'": "&#39;"})


def _line(line: Line) -> str:
    (x, y), *bends, last = line.points
    half = SVG_METRICS.node_height / 2 if last[1] > y else -SVG_METRICS.node_height / 2
    path = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in [*bends, last]:
        # Past a row of boxes an arrow runs straight, so that it crosses none of them.
        top = to_y - half if (to_x, to_y) != last else to_y
        middle = (y + top) / 2
        path.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {top:.1f}")
        x, y = to_x, top
        if (to_x, to_y) != last:
            y = to_y + half
            path.append(f"V{y:.1f}")
    drawn = f'<path d="{"".join(path)}" fill="none" stroke="#94a3b8" stroke-width="1.2" marker-end="url(#arrow)"/>'
    if label := one_line(line.label, 30):
        (x1, y1), (x2, y2) = line.points[0], line.points[1]
        y2 -= half if bends else 0
        x, y, width = (x1 + x2) / 2, (y1 + y2) / 2, text_width(label, SMALL_FONT_SIZE)
        # The line passes behind its label, not through it.
        drawn += (
            f'<rect x="{x - width / 2:.1f}" y="{y - 7:.1f}" width="{width:.1f}" height="13" rx="3" '
            f'fill="#ffffff" fill-opacity="0.9"/><text x="{x:.1f}" y="{y + 3:.1f}" text-anchor="middle" '
            f'font-size="{SMALL_FONT_SIZE:g}" fill="#475569">{_text(label)}</text>'
        )
    return drawn


def _box(box: Box) -> str:
    node, look = box.node, box.node.look
    x, y, w, h = box.x, box.y, box.width, box.height
    style = f'fill="{look.fill}" stroke="{look.line}" stroke-width="1.5"'
    if node.shape == "diamond":
        shape = _polygon(
            style,
            (x, y + h / 2),
            (x + w / 2, y),
            (x + w, y + h / 2),
            (x + w / 2, y + h),
        )
    elif node.shape == "hexagon":
        shape = _polygon(
            style,
            (x, y + h / 2),
            (x + 12, y),
            (x + w - 12, y),
            (x + w, y + h / 2),
            (x + w - 12, y + h),
            (x + 12, y + h),
        )
    else:
        radius = h / 2 if node.shape == "rounded" else 4
        shape = _rect(x, y, w, h, radius, style)
        if node.shape == "stack":
            shape = _rect(x + 4, y + 4, w, h, radius, style) + shape
        elif node.shape == "double":
            shape += _rect(x + 4, y + 4, w - 8, h - 8, 2, f'fill="none" stroke="{look.line}"')
    detail = one_line(node.detail, MAX_DETAIL)
    middle, centre = y + h / 2, x + w / 2
    texts = f'<text x="{centre:.1f}" y="{middle + (-2 if detail else 4):.1f}" text-anchor="middle" fill="#0f172a">'
    texts += f"{_text(node.title)}</text>"
    if detail:
        texts += f'<text x="{centre:.1f}" y="{middle + 13:.1f}" text-anchor="middle" '
        texts += f'font-size="{SMALL_FONT_SIZE:g}" fill="#475569">'
        texts += f"{_text(detail)}</text>"
    state = node.state.value if node.state else "none"
    hint = ": ".join(part for part in (one_line(node.id, 200), state if node.state else "", detail) if part)
    return f'<g data-state="{state}"><title>{_text(hint)}</title>{shape}{texts}</g>'


def _rect(x: float, y: float, w: float, h: float, radius: float, style: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{radius:g}" {style}/>'


def _polygon(style: str, *points: tuple[float, float]) -> str:
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" {style}/>'
