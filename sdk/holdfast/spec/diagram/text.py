"""A picture in plain characters: boxes and lines if it fits, else one line per node."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from typing import Final

from holdfast.spec.diagram.graph import DiagramGraph, DiagramNode
from holdfast.spec.diagram.layout import Layout, Line, Metrics, layered

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
_LINES: Final = {
    UP: "│",
    DOWN: "│",
    UP | DOWN: "│",
    LEFT: "─",
    RIGHT: "─",
    LEFT | RIGHT: "─",
    DOWN | RIGHT: "┌",
    DOWN | LEFT: "┐",
    UP | RIGHT: "└",
    UP | LEFT: "┘",
    UP | DOWN | RIGHT: "├",
    UP | DOWN | LEFT: "┤",
    DOWN | LEFT | RIGHT: "┬",
    UP | LEFT | RIGHT: "┴",
    UP | DOWN | LEFT | RIGHT: "┼",
}
_ASCII: Final = str.maketrans("│─┌┐└┘├┤┬┴┼▼\N{MULTIPLICATION SIGN}▶↻…✓✗»↩⊘·", "|-+++++++++vx>@.+!~<#.")


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def to_text(graph: DiagramGraph, *, width: int = 120, ascii_only: bool = False) -> str:
    """Draw a picture in characters.

    Args:
        graph: The picture.
        width: The columns there are. A wider picture becomes a list with one node a line.
        ascii_only: Use only ASCII for boxes, lines and signs.
    """
    metrics = Metrics(
        node_width=lambda node: columns(node.title) + 4, node_height=3, gap_x=2, gap_y=0, bend_width=1
    )
    drawn = ""
    if sum(columns(node.title) + 4 for node in graph.nodes) < 40 * width:
        layout = layered(graph, metrics)
        # A picture that is cyclic, too wide, or dense enough to need lines across boxes is better read as a list.
        bent = all(_is_drawable(line, layout) for line in layout.lines)
        if layout.width + 1 <= width and bent:
            drawn = _Canvas(layout).draw()
    text = drawn or _list(graph)
    return text.translate(_ASCII) if ascii_only else text


def _is_drawable(line: Line, layout: Layout) -> bool:
    layer = {box.id: box.layer for box in layout.boxes}
    return layer[line.target] - layer[line.source] == len(line.points) - 1


def _list(graph: DiagramGraph) -> str:
    before: dict[int, list[str]] = {}
    for source, target, _ in graph.drawn_edges():
        before.setdefault(target, []).append(graph.nodes[source].title)
    wide = min(max((columns(node.title) for node in graph.nodes), default=0), 40)
    lines: list[str] = []
    for index, node in enumerate(graph.nodes):
        sources = before.get(index, [])
        shown = ", ".join(sources[:6]) + (f" and {len(sources) - 6} more" if len(sources) > 6 else "")
        padding = " " * max(0, wide - columns(node.title))
        lines.append(f"{node.title}{padding}  after {shown}" if sources else node.title)
    return "\n".join(lines) + "\n"


def _share(lane: list[tuple[int, int]], start: int, end: int) -> bool:
    """Whether a horizontal line may join a lane: it touches none of those there, or fans out or in with all of them."""
    if all(start == other for other, _ in lane) or all(end == other for _, other in lane):
        return True
    low, high = min(start, end), max(start, end)
    return all(max(pair) < low or high < min(pair) for pair in lane)


class _Canvas:
    """Rows of layers: three lines for the boxes, then one lane per horizontal run of lines and one for arrow heads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._marks: dict[tuple[int, int], int] = {}
        self._text: dict[tuple[int, int], str] = {}

    def draw(self) -> str:
        """The finished text."""
        layers = max((box.layer for box in self._layout.boxes), default=-1) + 1
        runs = self._runs(layers)
        tops = [0] * (layers + 1)
        for layer in range(layers):
            lanes = 1 + max((lane for *_, lane in runs[layer]), default=-1)
            tops[layer + 1] = tops[layer] + 3 + (lanes + 2 if runs[layer] else 0)
        for layer in range(layers):
            for start, end, ends_in_box, lane in runs[layer]:
                self._connect(
                    start, end, tops[layer] + 3, tops[layer] + 3 + lane, tops[layer + 1], ends_in_box
                )
        for line in self._layout.lines:
            layer = next(box.layer for box in self._layout.boxes if box.id == line.source)
            for index, (x, _) in enumerate(line.points[1:-1], layer + 1):
                self._vertical(round(x), tops[index], tops[index] + 2)
        for box in self._layout.boxes:
            self._box(round(box.x), tops[box.layer], box.node)
        return self._render(tops[layers])

    def _runs(self, layers: int) -> list[list[tuple[int, int, bool, int]]]:
        """Per layer: where each line leaves it, where it arrives, whether in a box, and its lane."""
        layer_of = {box.id: box.layer for box in self._layout.boxes}
        found: list[list[tuple[int, int, bool]]] = [[] for _ in range(layers)]
        for line in self._layout.lines:
            for index, ((x1, _), (x2, _)) in enumerate(pairwise(line.points)):
                last = index == len(line.points) - 2
                found[layer_of[line.source] + index].append((round(x1), round(x2), last))
        runs: list[list[tuple[int, int, bool, int]]] = []
        for crossing in found:
            taken: list[list[tuple[int, int]]] = []
            placed: list[tuple[int, int, bool, int]] = []
            for start, end, last in sorted(set(crossing)):
                lane = 0
                while lane < len(taken) and not _share(taken[lane], start, end):
                    lane += 1
                if lane == len(taken):
                    taken.append([])
                taken[lane].append((start, end))
                placed.append((start, end, last, lane))
            runs.append(placed)
        return runs

    def _connect(self, start: int, end: int, top: int, lane: int, bottom: int, arrow: bool) -> None:
        self._vertical(start, top, lane, open_end=True)
        self._vertical(end, lane, bottom - 1, open_start=True)
        step = 1 if end > start else -1
        for x in range(start, end, step):
            self._mark(x, lane, RIGHT if step > 0 else LEFT)
            self._mark(x + step, lane, LEFT if step > 0 else RIGHT)
        if arrow:
            self._text[end, bottom - 1] = "▼"

    def _vertical(
        self, x: int, top: int, bottom: int, *, open_start: bool = False, open_end: bool = False
    ) -> None:
        for y in range(top, bottom + 1):
            self._mark(
                x, y, (0 if open_start and y == top else UP) | (0 if open_end and y == bottom else DOWN)
            )

    def _mark(self, x: int, y: int, directions: int) -> None:
        self._marks[x, y] = self._marks.get((x, y), 0) | directions

    def _box(self, x: int, y: int, node: DiagramNode) -> None:
        inner = columns(node.title) + 2
        for row, text in enumerate(("┌" + "─" * inner + "┐", f"│ {node.title} │", "└" + "─" * inner + "┘")):
            column = x
            for char in text:
                self._text[column, y + row] = char
                for extra in range(1, columns(char)):
                    self._text[column + extra, y + row] = ""
                column += columns(char)

    def _render(self, height: int) -> str:
        rows: list[str] = []
        width = 1 + max((x for x, _ in (*self._text, *self._marks)), default=0)
        for y in range(height):
            row = [
                self._text[x, y] if (x, y) in self._text else _LINES.get(self._marks.get((x, y), 0), " ")
                for x in range(width)
            ]
            rows.append("".join(row).rstrip())
        return "\n".join(rows).strip("\n") + "\n" if rows else ""
