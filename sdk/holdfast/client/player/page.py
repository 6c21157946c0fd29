"""A recorded run as one HTML file that plays: the picture, the time line, the steps. It loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib import resources
from string import Template
from typing import Final

from pydantic import JsonValue

from holdfast.client.description import StepDescription
from holdfast.client.playback import Playback
from holdfast.client.player.hiding import Hiding
from holdfast.engine.history import build_description
from holdfast.engine.history.labels import WORST_FIRST
from holdfast.spec.diagram import layered, to_svg
from holdfast.spec.diagram.graph import LOOKS, DiagramNode

MAX_ROWS: Final = 1000
"""More rows of steps are left out, in the table and in the time line."""

_NONE: Final = "unknown"


def make_page(playback: Playback, hiding: Hiding) -> str:
    """The page.

    Args:
        playback: What `read_playback` gave.
        hiding: What is not to be seen in it.
    """
    run, frames = playback.description, playback.frames
    style, script = _file("player.css"), _file("player.js")
    data: JsonValue = {
        "frames": _hidden_texts(frames.to_dict(), hiding),
        "boxes": [{"id": box.node.id, "title": _title(box.node)} for box in layered(playback.graph).boxes],
        "signs": {state.value: look.sign for state, look in LOOKS.items()},
        "worst": [state.value for state in WORST_FIRST],
        "max_rows": MAX_ROWS,
        "steps": _rows(playback, hiding),
    }
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    facts = {
        "workflow": run.workflow,
        "state": run.state.value.replace("_", " "),
        "started": run.started.isoformat(sep=" ", timespec="seconds") if run.started else _NONE,
        "took": f"{run.duration.total_seconds():.2f} s" if run.duration is not None else _NONE,
        "events": f"{frames.event_count:,}",
        "error": hiding.text(str(run.error)) if run.error else "",
        "waits for": run.stuck or run.waiting_for or "",
    }
    title = escape(f"Run {run.id}")
    # One pass: what is put in is not looked through again, whatever it holds.
    return Template(_file("player.html")).substitute(
        policy=escape(policy),
        title=title,
        style=style,
        facts="".join(
            f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items() if text
        ),
        notes="".join(f"<p>{escape(note)}</p>" for note in _notes(playback)),
        graph=to_svg(playback.graph),
        data=_inert(data),
        script=script,
    )


def _file(name: str) -> str:
    return (resources.files("holdfast.client.player") / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _inert(data: JsonValue) -> str:
    """JSON in which nothing ends a script element or begins a comment: ASCII without angle brackets."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _title(node: DiagramNode) -> str:
    """A box's title without the sign of its state."""
    return node.title.removeprefix(f"{node.look.sign} ") if node.look.sign else node.title


def _notes(playback: Playback) -> list[str]:
    frames, notes = playback.frames, list[str]()
    if frames.execution_count > 1:
        notes.append(f"The run continued as new: {frames.execution_count} executions.")
    if frames.is_cut:
        notes.append("Executions before these are gone, or were too many to be read.")
    if frames.merged_count:
        notes.append(f"{frames.merged_count:,} moments are shown together with later ones.")
    if len(frames.items) > MAX_ROWS:
        notes.append(f"The first {MAX_ROWS:,} of {len(frames.items):,} steps and waits are listed.")
    return notes


def _hidden_texts(frames: dict[str, JsonValue], hiding: Hiding) -> JsonValue:
    listed = frames["frames"]
    for frame in listed if isinstance(listed, list) else ():
        if isinstance(frame, dict):
            frame["text"] = hiding.text(str(frame["text"]))
    return frames


def _rows(playback: Playback, hiding: Hiding) -> list[JsonValue]:
    positions = {
        (item.execution, item.id): index
        for index, item in enumerate(playback.frames.items)
        if item.kind == "step"
    }
    rows: list[JsonValue] = []
    last = len(playback.executions) - 1
    for number, events in enumerate(playback.executions):
        run = playback.description if number == last else build_description(events, opened=playback.opened)
        for step in run.steps:
            if len(rows) == MAX_ROWS:
                return rows
            rows.append(_row(step, number, positions.get((number, step.activity_id)), hiding))
    return rows


def _row(step: StepDescription, execution: int, item: int | None, hiding: Hiding) -> JsonValue:
    label = step.name if step.ordinal == 1 else f"{step.name} #{step.ordinal}"
    error = step.error or step.last_failure
    return {
        "label": f"{label}, undoes {step.compensates}" if step.compensates else label,
        "execution": execution,
        "item": item,
        "duration": step.duration.total_seconds() if step.duration is not None else None,
        "input": "\n".join(map(hiding.preview, step.input)),
        "result": hiding.preview(step.result) if step.result is not None else "",
        "error": hiding.text(str(error)) if error is not None else "",
    }
