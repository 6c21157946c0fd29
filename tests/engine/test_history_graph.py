"""Pictures of runs, from recorded histories (mostly of plain temporalio) and from histories written by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from tests.engine.told import Told

from holdfast.engine.history import build_description
from holdfast.engine.history.graph import graph_of_events
from holdfast.engine.history.sketch import MAX_BOXES
from holdfast.spec.diagram import DiagramGraph, layered, to_dot, to_mermaid, to_svg, to_text
from holdfast.states import StepState

FOLDER = Path(__file__).parents[1] / "histories"
NAMES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.glob("*/*.json"))


def recorded(name: str) -> list[HistoryEvent]:
    return list(WorkflowHistory.from_json(name, (FOLDER / f"{name}.json").read_text("utf-8")).events)


DRAWN = [name for name in NAMES if name.startswith("drawn/")]
EVENTS = {name: recorded(name) for name in NAMES}


def drawn(name: str) -> DiagramGraph:
    return graph_of_events(EVENTS[name])


def arrows(graph: DiagramGraph) -> set[str]:
    """`{"a > b"}`, by label and count."""
    shown = {node.id: node.label + (f" x{node.count}" if node.count else "") for node in graph.nodes}
    return {f"{shown[edge.source]} > {shown[edge.target]}" for edge in graph.edges}


def states(graph: DiagramGraph) -> dict[str, StepState | None]:
    return {node.label: node.state for node in graph.nodes}


def test_a_gather_and_a_join_are_a_diamond() -> None:
    assert arrows(drawn("drawn/diamond")) == {
        "fetch > price",
        "fetch > stock",
        "fetch > address",
        "price > ship",
        "stock > ship",
        "address > ship",
    }


def test_two_parallel_chains_stay_two_chains_until_they_join() -> None:
    assert arrows(drawn("drawn/chains")) == {
        "fetch > parse",
        "parse > store",
        "scan > match",
        "match > file",
        "store > total",
        "file > total",
    }


def test_chains_whose_steps_end_in_the_same_task_are_paired_in_order() -> None:
    told = Told()
    a, b = told.task("a1", "b1")
    told.done(a)
    told.done(b)
    a, b = told.task("a2", "b2")
    told.done(b)
    told.done(a)
    told.task("b3", "a3")
    assert arrows(graph_of_events(told.events)) == {"a1 > a2", "b1 > b2", "a2 > a3", "b2 > b3"}


def test_a_value_says_more_than_the_order() -> None:
    told = Told()
    a, b = told.task("a1", "b1")
    told.done(a, {"receipt": "receipt-17"})
    told.done(b, "parcel-23")
    told.task("b2", "a2", values=["parcel-23", ["receipt-17", True]])
    assert arrows(graph_of_events(told.events)) == {"a1 > a2", "b1 > b2"}


def test_a_value_that_was_known_before_says_nothing() -> None:
    told = Told()
    a, b = told.task("a", "b", values=["order-17", "order-17"])
    told.done(a, "order-17")
    told.task()
    told.done(b, "order-17")
    told.task("c", values=["order-17"])
    assert arrows(graph_of_events(told.events)) == {"a > c", "b > c"}


def test_a_chain_that_has_ended_does_not_lead_into_another() -> None:
    """The third lane begins its second step while the first lane has ended: habit says what it follows."""
    told = Told()
    lanes = told.task("x", "x", "x")
    for lane in lanes:
        told.done(lane)
        (second,) = told.task("y")
        told.done(second)
        told.task()
    told.task()
    told.signal("go")
    told.task("join")
    graph = graph_of_events(told.events)
    assert {arrow for arrow in arrows(graph) if "y" in arrow and "go" not in arrow} == {"x > y"}
    assert arrows(graph) == {"x > y", "y > go", "go > join"}


def test_a_second_gather_follows_all_of_the_first() -> None:
    told = Told()
    first = told.task("a", "b")
    told.done(first[0])
    told.task()
    told.done(first[1])
    told.task("c", "d")
    assert arrows(graph_of_events(told.events)) == {"a > c", "b > c", "a > d", "b > d"}


def test_a_map_is_one_box_with_a_count_at_each_of_its_stages() -> None:
    assert arrows(drawn("drawn/mapped")) == {"parse x50 > store x50", "store x50 > total"}


def test_a_map_that_runs_some_items_at_a_time_is_one_box_too() -> None:
    assert arrows(drawn("drawn/pooled")) == {"parse x40 > store x40", "store x40 > total"}


def test_a_box_has_the_worst_state_of_its_calls() -> None:
    told = Told()
    calls = told.task(*["x"] * 50)
    for number, call in enumerate(calls):
        told.failed(call) if number == 7 else told.done(call)
    told.task("join")
    (box, join) = graph_of_events(told.events).nodes
    assert (box.count, box.state, join.state) == (50, StepState.FAILED, StepState.PENDING)
    assert box.detail.startswith("49 completed, 1 failed")


def test_a_loop_is_a_box_for_each_part_of_its_round() -> None:
    graph = drawn("drawn/polls")
    assert arrows(graph) == {"fetch > check x13", "check x13 > sleep x12", "check x13 > store"}


def test_a_few_calls_in_a_row_stay_boxes_of_their_own() -> None:
    told = Told()
    for _ in range(4):
        (call,) = told.task("x")
        told.done(call)
    assert len(graph_of_events(told.events).nodes) == 4
    for _ in range(8):
        (call,) = told.task("x")
        told.done(call)
    assert [node.count for node in graph_of_events(told.events).nodes] == [12]


def test_a_saga_shows_what_failed_and_what_was_undone() -> None:
    graph = drawn("described/saga")
    assert arrows(graph) == {"charge > ship", "ship > charge.compensate"}
    assert states(graph) == {
        "charge": StepState.COMPENSATED,
        "ship": StepState.FAILED,
        "charge.compensate": StepState.COMPLETED,
    }
    assert [node.detail.rpartition(", ")[2] for node in graph.nodes if node.label == "ship"] == ["OutOfStock"]
    assert states(drawn("drawn/saga")) == {
        "price": StepState.COMPLETED,
        "ship": StepState.FAILED,
        "undo": StepState.COMPLETED,
    }


def test_children_are_boxes_of_their_own_shape() -> None:
    graph = drawn("drawn/parent")
    assert arrows(graph) == {"fetch > saga", "fetch > diamond", "saga > store", "diamond > store"}
    assert {node.label: node.shape for node in graph.nodes}["saga"] == "double"
    assert states(graph)["saga"] is StepState.FAILED


def test_messages_that_move_a_run_on_are_waits() -> None:
    graph = drawn("drawn/messages")
    assert arrows(graph) == {"price > pay", "pay > stock", "stock > agree", "agree > ship"}
    assert {node.label for node in graph.nodes if node.shape == "hexagon"} == {"pay", "agree"}


def test_a_message_that_changes_nothing_is_not_drawn() -> None:
    told = Told()
    (call,) = told.task("a")
    told.signal("poke")
    told.task()
    told.done(call)
    told.task("b")
    assert arrows(graph_of_events(told.events)) == {"a > b"}


def test_approvals_of_holdfast_are_waits_with_their_prompt() -> None:
    assert arrows(drawn("holdfast/approval")) == {"Ship it? > address"}
    open_run = drawn("holdfast/open")
    assert [(node.label, node.kind, node.state) for node in open_run.nodes] == [
        ("Ship it?", "approval", StepState.WAITING)
    ]


def test_local_activities_follow_by_the_clock_of_their_worker() -> None:
    assert arrows(drawn("drawn/locally")) == {
        "fetch > price",
        "fetch > stock",
        "price > parse",
        "stock > parse",
        "parse > store",
    }


def test_retries_are_attempts_and_guards_are_no_timers() -> None:
    graph = drawn("drawn/retries")
    assert arrows(graph) == {"flaky > fetch", "flaky > sleep 0.05 s", "sleep 0.05 s > store"}
    assert states(graph)["fetch"] is StepState.CANCELLED
    assert next(node.detail for node in graph.nodes if node.label == "flaky").startswith("3 attempts")


def test_executions_that_continue_each_other_are_one_picture() -> None:
    events = chain.from_iterable(EVENTS[f"drawn/again-{number}"] for number in (1, 2, 3))
    graph = graph_of_events(events)
    assert arrows(graph) == {"fetch > fetch", "fetch > store"}
    assert {edge.label for edge in graph.edges} == {"continued as new"}


def test_steps_of_an_open_run_have_the_state_that_the_server_knows() -> None:
    told = Told()
    told.task("a")
    assert states(graph_of_events(told.events)) == {"a": StepState.PENDING}
    run = build_description(told.events)
    run.steps[0] = replace(run.steps[0], state=StepState.RETRYING, attempt=4)
    (node,) = graph_of_events(told.events, description=run).nodes
    assert (node.state, node.detail) == (StepState.RETRYING, "4 attempts")
    assert states(graph_of_events(told.completed())) == {"a": StepState.CANCELLED}


def test_an_empty_history_is_an_empty_picture() -> None:
    for events in ([], Told().events, Told().completed()):
        graph = graph_of_events(events)
        assert (graph.nodes, graph.edges) == ((), ())
        for form in (to_text, to_mermaid, to_dot, to_svg):
            form(graph)


def test_a_hostile_name_stays_a_name() -> None:
    told = Told(workflow='"]; click')
    name = '</text><script>alert(1)</script>"];\n\x1b[31m'
    (call,) = told.task(name)
    told.done(call)
    told.task(name)
    graph = graph_of_events(told.events)
    assert len({node.id for node in graph.nodes}) == 2
    assert "<script" not in to_svg(graph)
    assert "\x1b" not in to_text(graph) + to_mermaid(graph) + to_dot(graph)


def test_a_fan_of_many_behind_many_has_few_arrows() -> None:
    told = Told()
    first = told.task(*(f"a{number}" for number in range(40)))
    for call in first:
        told.done(call)
        told.task()
    told.task()
    told.signal("go")
    told.task(*(f"b{number}" for number in range(40)))
    assert len(graph_of_events(told.events).edges) == 80
    told = Told()
    for call in told.task(*(f"a{number}" for number in range(40))):
        told.done(call)
    told.task(*(f"b{number}" for number in range(30)))
    graph = graph_of_events(told.events)
    assert len(graph.edges) == 70
    assert [node.label for node in graph.nodes if node.kind == "join"] == ["all"]


def test_a_picture_stays_small() -> None:
    told = Told()
    (call,) = told.task("x0")
    for number in range(400):
        told.done(call)
        (call,) = told.task(f"x{number * number % 17}")
    graph = graph_of_events(told.events)
    assert len(graph.nodes) <= MAX_BOXES
    assert sum(node.count or 1 for node in graph.nodes) == 401


@given(name=st.sampled_from(NAMES), data=st.data())
def test_any_part_of_any_history_can_be_drawn(name: str, data: st.DataObject) -> None:
    events = EVENTS[name]
    start = data.draw(st.integers(0, len(events)))
    cut = events[start : data.draw(st.integers(start, len(events)))]
    check(cut)
    check(event for event in events[:40] if data.draw(st.booleans()))


def check(events: Iterable[HistoryEvent]) -> None:
    graph = graph_of_events(events)
    ids = [node.id for node in graph.nodes]
    assert len(set(ids)) == len(ids)
    assert {end for edge in graph.edges for end in (edge.source, edge.target)} <= set(ids)
    layer = {box.id: box.layer for box in layered(graph).boxes}
    assert all(layer[edge.source] < layer[edge.target] for edge in graph.edges)


@st.composite
def programs(draw: st.DrawFn) -> Told:
    """A run of random turns: some open calls end, some new ones are made."""
    told, waiting = Told(), list[int]()
    for _ in range(draw(st.integers(1, 12))):
        waiting += told.task(*draw(st.lists(st.sampled_from("abc"), max_size=5)))
        for call in draw(st.permutations(waiting))[: draw(st.integers(0, 4))]:
            waiting.remove(call)
            told.done(call)
    return told


@given(programs())
def test_an_arrow_never_contradicts_the_history(told: Told) -> None:
    check(told.events)
    scheduled = sum(event.HasField("activity_task_scheduled_event_attributes") for event in told.events)
    assert (
        sum(node.count or 1 for node in graph_of_events(told.events).nodes if node.kind != "join")
        == scheduled
    )


@pytest.mark.parametrize("name", sorted(set(DRAWN) - {"drawn/locally"}))
def test_every_recorded_call_is_in_the_picture(name: str) -> None:
    activities = sum(event.HasField("activity_task_scheduled_event_attributes") for event in EVENTS[name])
    shown = [node for node in drawn(name).nodes if node.kind == "step"]
    assert sum(node.count or 1 for node in shown) == activities
