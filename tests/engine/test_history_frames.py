"""Frames of recorded runs: of whole histories, of any beginning of one, and of chains of executions."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from holdfast.client.frames import Frames
from holdfast.client.playback import make_playback
from holdfast.engine.history import Opened, build_description
from holdfast.engine.history.frame_row import state_of_box
from holdfast.engine.history.frames import build_frames
from holdfast.states import StepState

FOLDER = Path(__file__).parents[1] / "histories"
PATHS = sorted(FOLDER.rglob("*.json"))
NAMES = [str(path.relative_to(FOLDER).with_suffix("")) for path in PATHS]


def recorded(name: str) -> list[HistoryEvent]:
    return list(WorkflowHistory.from_json(name, (FOLDER / f"{name}.json").read_text("utf-8")).events)


EVENTS = {name: recorded(name) for name in NAMES}
CHAINS = [["drawn/again-1", "drawn/again-2", "drawn/again-3"], [f"dag/continued-{n}" for n in (1, 2, 3, 4)]]


def check(frames: Frames, executions: Sequence[Sequence[HistoryEvent]]) -> None:
    """What holds of the frames of any run."""
    json.dumps(frames.to_dict())
    moments = [(frame.execution, frame.at) for frame in frames.frames]
    assert moments == sorted(moments)
    run = build_description(executions[-1])
    last = len(executions) - 1
    found = frames.states()
    steps = {
        item.id: found.get(position)
        for position, item in enumerate(frames.items)
        if item.kind == "step" and item.execution == last
    }
    assert steps == {step.activity_id: step.state for step in run.steps}
    if frames.frames:
        assert frames.frames[-1].state is run.state
    assert set(found) == set(range(len(frames.items)))


def check_order(frames: Frames) -> None:
    """A step that has ended is not begun again, and one that runs was due before."""
    before: dict[int, StepState] = {}
    for frame in frames.frames:
        for change in frame.changes:
            if change.item is None:
                continue
            was = before.get(change.item)
            assert was is not change.state or was is StepState.RETRYING, (frame, was)
            if was is not None and was.closed:
                assert change.state is StepState.COMPENSATED
            if change.state is StepState.RUNNING and not frames.items[change.item].local:
                assert was in {None, StepState.PENDING, StepState.RETRYING}
            before[change.item] = change.state


@pytest.mark.parametrize("name", NAMES)
def test_the_frames_of_a_recorded_run_end_as_it_is_described(name: str) -> None:
    frames = build_frames([EVENTS[name]])
    check(frames, [EVENTS[name]])
    check_order(frames)


@settings(deadline=None)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_the_frames_of_any_beginning_end_as_it_is_described(name: str, data: st.DataObject) -> None:
    events = EVENTS[name][: data.draw(st.integers(1, len(EVENTS[name])))]
    check(build_frames([events]), [events])


@settings(deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers())
def test_a_history_with_holes_has_frames(name: str, seed: int) -> None:
    chance = random.Random(seed)
    kept = [event for event in EVENTS[name] if chance.random() < 0.6]
    # With holes, what came first is not known, and so the last state is not either.
    frames = build_frames([kept])
    json.dumps(frames.to_dict())
    assert len(frames.frames) <= 2 * len(kept), "each event begins or ends something"


@pytest.mark.parametrize("names", CHAINS, ids=lambda names: names[0])
def test_a_chain_of_executions_is_one_row_of_frames(names: list[str]) -> None:
    executions = [EVENTS[name] for name in names]
    frames = build_frames(executions)
    check(frames, executions)
    assert frames.execution_count == len(names)
    assert {frame.execution for frame in frames.frames} == set(range(len(names)))
    assert [frame.kind for frame in frames.frames].count("run.continued") == len(names) - 1
    ended = [frame for frame in frames.frames if frame.state.closed]
    assert [frame.execution for frame in ended] == [len(names) - 1]


@pytest.mark.parametrize("name", NAMES)
def test_all_boxes_of_the_picture_end_as_they_are_drawn(name: str) -> None:
    played = make_playback([EVENTS[name]], build_description(EVENTS[name]), Opened())
    items = played.frames.items
    found: dict[str, dict[int, StepState]] = {}
    told: dict[str, StepState] = {}
    for frame in played.frames.frames:
        for change in frame.changes:
            box = items[change.item].node if change.item is not None else change.node
            if box is None:
                continue
            if change.item is None:
                told[box] = change.state
                continue
            found.setdefault(box, {}).pop(change.item, None)
            found[box][change.item] = change.state
    drawn = {node.id: node.state for node in played.graph.nodes if node.state is not None}
    assert drawn == {box: told.get(box) or state_of_box(found.get(box, {})) for box in drawn}


def test_a_retried_step_says_what_it_is_tried_after() -> None:
    frames = build_frames([EVENTS["described/retries"]])
    texts = [frame.text for frame in frames.frames]
    assert any("begins attempt" in text and "after" in text for text in texts), texts


def test_a_compensation_marks_the_step_that_it_undoes() -> None:
    frames = build_frames([EVENTS["described/saga"]])
    states = frames.states()
    undone = [frame for frame in frames.frames if frame.kind == "step.compensated"]
    assert undone
    for frame in undone:
        compensation, step = frame.changes
        assert (compensation.state, step.state) == (StepState.COMPLETED, StepState.COMPENSATED)
        assert step.item is not None
        assert states[step.item] is StepState.COMPENSATED


def long_history(steps: int) -> list[HistoryEvent]:
    """A run of steps one after the other, six events each, made from a recorded one."""
    first = EVENTS["patch/before"]
    kinds = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    begin = next(index for index, event in enumerate(first) if event.event_type == kinds[0])
    end = next(index for index, event in enumerate(first[begin:], begin) if event.event_type == kinds[1])
    made = [*first[:begin]]
    for number in range(1, steps + 1):
        shift = len(made) - begin
        for event in first[begin : end + 1]:
            copy = HistoryEvent()
            copy.CopyFrom(event)
            copy.event_id = len(made) + 1
            copy.event_time.FromDatetime(event.event_time.ToDatetime() + timedelta(seconds=number))
            if copy.event_type == kinds[0]:
                copy.activity_task_scheduled_event_attributes.activity_id = f"pack-{number}"
            attributes = getattr(copy, copy.WhichOneof("attributes") or "")
            if hasattr(attributes, "scheduled_event_id") and attributes.scheduled_event_id:
                attributes.scheduled_event_id += shift
            made.append(copy)
    return made


def test_a_long_run_has_a_bounded_row_that_ends_the_same() -> None:
    events = long_history(1700)
    assert len(events) > 10_000
    whole, bounded = build_frames([events], max_frames=10**6), build_frames([events])
    assert len(bounded.frames) <= 2000 < len(whole.frames)
    assert bounded.merged_count == len(whole.frames) - len(bounded.frames)
    assert bounded.states() == whole.states()
    assert len(bounded.items) == 1700
    assert all(before.at <= after.at for before, after in pairwise(bounded.frames))
    check(bounded, [events])
