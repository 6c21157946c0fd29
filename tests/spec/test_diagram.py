"""Pictures: complete, escaped, and tolerant of what is not a valid graph."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.spec.conftest import random_dags

from holdfast.spec.diagram import (
    DiagramEdge,
    DiagramGraph,
    DiagramNode,
    NodeStatus,
    layered,
    of_spec,
    to_dot,
    to_mermaid,
    to_svg,
    to_text,
)
from holdfast.spec.diagram.graph import LOOKS
from holdfast.spec.diagram.layout import FONT_SIZE
from holdfast.spec.diagram.measure import text_width
from holdfast.spec.document import load_yaml
from holdfast.spec.model import DagSpec
from holdfast.states import StepState

HOSTILE = [
    '"]; click n0 "javascript:alert(1)"',
    "</text><script>alert(1)</script>",
    "a\nb\r\x00\x1b[31m",
    'x"];\n  evil -> n0; "',
    "`**bold**` <b>#quot;</b> --> n1",
    "%%{init: {}}%%",
    "\\",
    "\u202egnp.exe",
    "&lt; ' &",
    "]]>",
    "",
    "x" * 500,
]


def picture(*edges: str, labels: dict[str, str] | None = None) -> DiagramGraph:
    """A graph from edges such as "ab"."""
    names = sorted(set("".join(edges)))
    return DiagramGraph(
        nodes=tuple(DiagramNode(id=name, label=(labels or {}).get(name, name)) for name in names),
        edges=tuple(DiagramEdge(source=edge[0], target=edge[1]) for edge in edges),
    )


@st.composite
def any_pictures(draw: st.DrawFn) -> DiagramGraph:
    count = draw(st.integers(0, 12))
    ends = st.sampled_from([*(f"n{i}" for i in range(count)), "missing"])
    return DiagramGraph(
        nodes=tuple(
            DiagramNode(
                id=f"n{i}",
                label=draw(st.text(max_size=15)),
                kind=draw(st.sampled_from(["step", "map", "switch", "wait", "timer", "workflow", "http"])),
                state=draw(st.none() | st.sampled_from(StepState)),
                count=draw(st.none() | st.integers(0, 10**6)),
                detail=draw(st.text(max_size=5)),
            )
            for i in range(count)
        ),
        edges=tuple(
            DiagramEdge(source=draw(ends), target=draw(ends), label=draw(st.text(max_size=5)))
            for _ in range(draw(st.integers(0, 20)))
        ),
        title=draw(st.text(max_size=10)),
    )


@settings(deadline=None)
@given(any_pictures())
def test_any_graph_is_drawn_in_every_form(graph: DiagramGraph) -> None:
    root = ElementTree.fromstring(to_svg(graph))
    assert len([g for g in root.iter() if g.get("data-state")]) == len(graph.nodes)
    edges = graph.drawn_edges()
    assert to_mermaid(graph).count(" --> ") + to_mermaid(graph).count(" -->|") == len(edges)
    assert len(re.findall(r"^    n\d+ -> n\d+", to_dot(graph), re.MULTILINE)) == len(edges)
    text = to_text(graph)
    for node in graph.nodes:
        assert node.title in text
    assert "\x1b" not in text


@settings(deadline=None)
@given(any_pictures())
def test_boxes_do_not_overlap_and_arrows_end_at_boxes(graph: DiagramGraph) -> None:
    layout = layered(graph)
    for one in layout.boxes:
        assert one.x >= -1e-6
        assert one.x + one.width <= layout.width + 1e-6
        for other in layout.boxes:
            if one is not other and one.layer == other.layer:
                assert one.x + one.width < other.x or other.x + other.width < one.x
    boxes = {box.id: box for box in layout.boxes}
    for line in layout.lines:
        for end, (x, y) in ((line.source, line.points[0]), (line.target, line.points[-1])):
            box = boxes[end]
            assert box.x <= x <= box.x + box.width
            assert y == pytest.approx(box.y) or y == pytest.approx(box.y + box.height)


@settings(deadline=None)
@given(any_pictures())
def test_every_arrow_and_every_label_is_inside_the_picture(graph: DiagramGraph) -> None:
    layout = layered(graph)
    for line in layout.lines:
        assert all(-1e-6 <= x <= layout.width + 1e-6 for x, _ in line.points)
    for box in layout.boxes:
        assert text_width(box.node.title, FONT_SIZE) < box.width


def test_the_width_of_a_text_is_not_underrated() -> None:
    """Compared with DejaVu Sans at 12 pixels, one of the widest common fonts."""
    for text, pixels in {
        "Fetch the order": 91.9,
        "WWWWWWWWWW": 118.7,
        "illicit": 28.0,
        "a_b_c_d": 47.2,
    }.items():
        assert pixels <= text_width(text, 12.0) <= 1.6 * pixels
    assert text_width("日本語", 12.0) >= 36


def test_an_arrow_past_a_row_runs_straight_beside_its_boxes() -> None:
    svg = to_svg(picture("ab", "bc", "ac", labels={"b": "a box that is wide enough to be crossed"}))
    paths = re.findall(r'<path d="(M[^"]*)" fill="none"', svg)
    assert sorted(path.count("V") for path in paths) == [0, 0, 1]


@settings(deadline=None)
@given(random_dags())
def test_arrows_of_a_dag_point_down(document: dict[str, Any]) -> None:
    layout = layered(of_spec(DagSpec.model_validate(document)))
    for line in layout.lines:
        heights = [y for _, y in line.points]
        assert heights == sorted(heights)


@pytest.mark.parametrize("label", HOSTILE)
def test_a_hostile_name_stays_a_name(label: str) -> None:
    graph = DiagramGraph(
        nodes=(DiagramNode(id=label or "id", label=label, detail=label), DiagramNode(id="b", label="b")),
        edges=(DiagramEdge(source=label or "id", target="b", label=label),),
        title=label,
    )
    svg = to_svg(graph)
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "title", "defs", "marker", "path", "g", "rect", "polygon", "text"}
    mermaid = to_mermaid(graph)
    node, _, edge = mermaid.splitlines()[1:]
    for text in re.findall(r'"(.*?)"', node + edge):
        assert re.fullmatch(r"(?:<br/>|#\d+;|[\w .,…-])*", text)
    assert len(mermaid.splitlines()) == 4
    dot = to_dot(graph)
    assert len(dot.splitlines()) == 6
    for line in dot.splitlines()[2:4]:
        assert re.fullmatch(
            r'    n\d \[label="(?:[^"\\]|\\.)*", shape=box, fillcolor="#\w+", color="#\w+"\];', line
        )
    assert all(char.isprintable() or char == "\n" for char in to_text(graph) + svg + mermaid + dot)


def test_a_diamond_in_characters() -> None:
    assert to_text(picture("ab", "ac", "bd", "cd")) == (
        "    ┌───┐\n"
        "    │ a │\n"
        "    └───┘\n"
        "  ┌───┴───┐\n"
        "  │       │\n"
        "  ▼       ▼\n"
        "┌───┐  ┌───┐\n"
        "│ b │  │ c │\n"
        "└───┘  └───┘\n"
        "  └───┬───┘\n"
        "      │\n"
        "      ▼\n"
        "    ┌───┐\n"
        "    │ d │\n"
        "    └───┘\n"
    )


def test_a_picture_that_is_too_wide_becomes_a_list() -> None:
    text = to_text(picture("ab", "ac", "ad", "bd"), width=12)
    assert text == "a\nb  after a\nc  after a\nd  after a, b\n"


def test_plain_ascii_is_possible() -> None:
    spec = load_yaml(
        "name: x\nnodes: [{id: a, type: h, map: {over: '5'}}, {id: b, type: h, depends_on: [a]}]"
    )
    graph = of_spec(spec, {"a": NodeStatus(state=StepState.COMPLETED, count=5)})
    assert to_text(graph, ascii_only=True).isascii()
    assert "+ a x5" in to_text(graph, ascii_only=True)


def test_every_state_has_a_colour_and_a_sign_of_its_own() -> None:
    assert set(LOOKS) == set(StepState)
    assert len({look.sign for look in LOOKS.values()}) == len(LOOKS)
    assert len({(look.fill, look.line) for look in LOOKS.values()}) == len(LOOKS)


def test_a_spec_shows_kinds_states_and_branches() -> None:
    spec = load_yaml(
        """
name: order
nodes:
- {id: check, type: switch, config: {cases: [{name: large, when: 'true', to: ask}], default: ship}}
- {id: ask, type: approval, config: {prompt: Ship?}, name: Ask somebody}
- {id: ship, type: http, depends_on: [ask], map: {over: input.parcels}}
"""
    )
    graph = of_spec(spec, {"ask": NodeStatus(state=StepState.WAITING, detail="2 h")})
    nodes = {node.id: node for node in graph.nodes}
    assert [nodes[name].shape for name in ("check", "ask", "ship")] == ["diamond", "hexagon", "stack"]
    assert nodes["ask"].title == "… Ask somebody"
    assert {(edge.source, edge.target): edge.label for edge in graph.edges} == {
        ("check", "ask"): "large",
        ("check", "ship"): "default",
        ("ask", "ship"): "",
    }
    assert ":::waiting" in to_mermaid(graph)
    assert 'data-state="waiting"' in to_svg(graph)


def test_an_invalid_spec_is_drawn_too() -> None:
    nodes = [
        {"id": "a", "type": "h", "depends_on": ["b", "zz", "a"]},
        {"id": "b", "type": "h", "depends_on": ["a"]},
        {"id": "a", "type": "h"},
    ]
    graph = of_spec(DagSpec.model_validate({"name": "x", "nodes": nodes}))
    assert len(layered(graph).lines) == 2
    assert to_text(graph)
