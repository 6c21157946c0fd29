"""Where the boxes stand: layers from top to bottom, few crossings (Sugiyama, Tagawa and Toda 1981).

Each node stands one layer below the lowest of those before it; an arrow over several layers gets a bend in each; within
layers, nodes are sorted by the mean position of their neighbours, down and up a few times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from holdfast.spec.diagram.graph import DiagramGraph, DiagramNode, Shape, one_line
from holdfast.spec.diagram.measure import text_width

Point: TypeAlias = tuple[float, float]

SWEEPS: Final = 3
MAX_BENDS_PER_NODE: Final = 2
"""With more bends than this, on average, long arrows run straight: the picture is too dense for bends to help."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A node's place: `x` and `y` are its top left corner."""

    id: str
    x: float
    y: float
    width: float
    height: float
    layer: int
    node: DiagramNode


@dataclass(frozen=True, kw_only=True)
class Line:
    """An arrow's way: from the bottom of one box over its bends to the top of another."""

    source: str
    target: str
    points: tuple[Point, ...]
    label: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A picture ready to be drawn."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Sizes, in the unit of the drawing."""

    node_width: Callable[[DiagramNode], float]
    node_height: float
    gap_x: float
    gap_y: float
    bend_width: float


FONT_SIZE: Final = 12.0
SMALL_FONT_SIZE: Final = 10.0
MAX_DETAIL: Final = 64
"""Characters of a box's second line."""

_PADDING: Final[dict[Shape, float]] = {"diamond": 64, "hexagon": 44, "rounded": 40, "double": 34}


def _svg_width(node: DiagramNode) -> float:
    label = text_width(node.title, FONT_SIZE)
    detail = text_width(one_line(node.detail, MAX_DETAIL), SMALL_FONT_SIZE)
    return max(56.0, max(label, detail) + _PADDING.get(node.shape, 24))


SVG_METRICS: Final = Metrics(node_width=_svg_width, node_height=44, gap_x=24, gap_y=44, bend_width=10)
"""For drawings in pixels with a font of 12 pixels."""


def layered(graph: DiagramGraph, metrics: Metrics = SVG_METRICS) -> Layout:
    """Lay out a picture in layers; cycles and unconnected parts are drawn too.

    Args:
        graph: The picture.
        metrics: Sizes of boxes and gaps. Default: pixels.
    """
    edges = graph.drawn_edges()
    count = len(graph.nodes)
    layer_of = _layers(count, [(source, target) for source, target, _ in edges])
    chains = _chains(count, layer_of, edges)
    widths = [metrics.node_width(node) for node in graph.nodes]
    widths += [metrics.bend_width] * (len(layer_of) - count)
    layers, above, below = _neighbours(layer_of, chains)
    _sort(layers, above, below)
    centres = _place(layers, above, below, widths, metrics.gap_x)

    step = metrics.node_height + metrics.gap_y
    boxes = tuple(
        Box(
            id=node.id,
            x=centres[index] - widths[index] / 2,
            y=layer_of[index] * step,
            width=widths[index],
            height=metrics.node_height,
            layer=layer_of[index],
            node=node,
        )
        for index, node in enumerate(graph.nodes)
    )
    lines: list[Line] = []
    for (source, target, label), chain in zip(edges, chains, strict=True):
        downwards = layer_of[source] < layer_of[target]
        first, last = (source, target) if downwards else (target, source)
        points = [(centres[first], layer_of[first] * step + metrics.node_height)]
        points += [(centres[bend], layer_of[bend] * step + metrics.node_height / 2) for bend in chain[1:-1]]
        points.append((centres[last], layer_of[last] * step))
        lines.append(
            Line(
                source=graph.nodes[source].id,
                target=graph.nodes[target].id,
                points=tuple(points if downwards else points[::-1]),
                label=label,
            )
        )
    return Layout(
        # A bend can stand beside all boxes.
        width=max((centres[item] + width / 2 for item, width in enumerate(widths)), default=0.0),
        height=max((box.y + box.height for box in boxes), default=0.0),
        boxes=boxes,
        lines=tuple(lines),
    )


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each node. Where a cycle leaves no node without predecessors, the first one open begins it."""
    after: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in edges:
        after[source].append(target)
        waiting[target] += 1
    layer = [0] * count
    done = [False] * count
    ready = deque(node for node in range(count) if not waiting[node])
    next_open = 0
    for _ in range(count):
        if not ready:
            while done[next_open]:
                next_open += 1
            ready.append(next_open)
        node = ready.popleft()
        done[node] = True
        for other in after[node]:
            if not done[other]:
                layer[other] = max(layer[other], layer[node] + 1)
                waiting[other] -= 1
                if not waiting[other]:
                    ready.append(other)
    return layer


def _chains(count: int, layer_of: list[int], edges: Sequence[tuple[int, int, str]]) -> list[list[int]]:
    """Each edge as a way from its upper to its lower end over new bends, which are added to `layer_of`."""
    spans = [abs(layer_of[source] - layer_of[target]) - 1 for source, target, _ in edges]
    with_bends = sum(spans) <= MAX_BENDS_PER_NODE * count + 200
    chains: list[list[int]] = []
    for source, target, _ in edges:
        top, bottom = (source, target) if layer_of[source] < layer_of[target] else (target, source)
        chain = [top]
        if with_bends:
            for level in range(layer_of[top] + 1, layer_of[bottom]):
                chain.append(len(layer_of))
                layer_of.append(level)
        chains.append([*chain, bottom])
    return chains


Neighbours: TypeAlias = list[list[int]]


def _neighbours(
    layer_of: Sequence[int], chains: Sequence[Sequence[int]]
) -> tuple[list[list[int]], Neighbours, Neighbours]:
    layers: list[list[int]] = [[] for _ in range(max(layer_of, default=-1) + 1)]
    for item, level in enumerate(layer_of):
        layers[level].append(item)
    above: Neighbours = [[] for _ in layer_of]
    below: Neighbours = [[] for _ in layer_of]
    for chain in chains:
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    return layers, above, below


def _sort(layers: list[list[int]], above: Neighbours, below: Neighbours) -> None:
    position = [0.0] * len(above)

    def number(layer: list[int]) -> None:
        for index, item in enumerate(layer):
            position[item] = (index + 0.5) / len(layer)

    for layer in layers:
        number(layer)
    for sweep in range(SWEEPS):
        neighbours = below if sweep % 2 else above
        for layer in reversed(layers) if sweep % 2 else layers:
            wanted = {
                item: sum(position[other] for other in others) / len(others)
                if (others := neighbours[item])
                else position[item]
                for item in layer
            }
            layer.sort(key=wanted.__getitem__)
            number(layer)


def _place(
    layers: Sequence[Sequence[int]],
    above: Neighbours,
    below: Neighbours,
    widths: Sequence[float],
    gap: float,
) -> list[float]:
    """The horizontal centre of each item: near its neighbours, in the order of its layer, without overlap."""
    centres = [0.0] * len(widths)
    for layer in layers:
        edge = 0.0
        for item in layer:
            centres[item] = edge + widths[item] / 2
            edge += widths[item] + gap
    widest = max((centres[layer[-1]] + widths[layer[-1]] / 2 for layer in layers), default=0.0)
    for layer in layers:
        shift = (widest - centres[layer[-1]] - widths[layer[-1]] / 2) / 2
        for item in layer:
            centres[item] += shift
    for sweep in range(SWEEPS):
        neighbours = below if sweep % 2 else above
        for layer in reversed(layers) if sweep % 2 else layers:
            wanted = [
                sum(centres[other] for other in others) / len(others)
                if (others := neighbours[item])
                else centres[item]
                for item in layer
            ]
            for item, centre in zip(layer, _apart(layer, wanted, widths, gap), strict=True):
                centres[item] = centre
    left = min((centres[item] - width / 2 for item, width in enumerate(widths)), default=0.0)
    return [centre - left for centre in centres]


def _apart(layer: Sequence[int], wanted: Sequence[float], widths: Sequence[float], gap: float) -> list[float]:
    """The places closest to the wanted ones (least squares) that keep order and distance: blocks that touch are merged
    and stand at the mean of their wishes."""
    offsets: list[float] = []
    edge = 0.0
    for item in layer:
        offsets.append(edge + widths[item] / 2)
        edge += widths[item] + gap
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, size = want - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / size:
            before, count = blocks.pop()
            total, size = total + before, size + count
        blocks.append((total, size))
    starts = [total / size for total, size in blocks for _ in range(size)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]
