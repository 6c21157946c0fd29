"""A document with everything in it, and changes to it that people and programs make by mistake."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

RICH: dict[str, Any] = {
    "name": "rich",
    "input_schema": {"type": "object", "properties": {"count": {"type": "integer"}}},
    "variables": {"limit": 3, "names": ["x", "y"]},
    "nodes": [
        {"id": "first", "type": "step", "config": {"step": "mutated.note", "arguments": {"value": 1}}},
        {
            "id": "way",
            "type": "switch",
            "config": {
                "cases": [
                    {"when": "first > 5", "to": "big", "name": "many"},
                    {"when": "first > 0", "to": ["some"]},
                ],
                "default": "none",
            },
            "depends_on": ["first"],
        },
        {
            "id": "big",
            "type": "step",
            "config": {"step": "mutated.note", "arguments": {"value": "{{ first }}"}},
        },
        {
            "id": "some",
            "type": "step",
            "config": {"step": "mutated.note", "arguments": {"value": "{{ variables.limit + first }}"}},
            "retry": {"max_attempts": 2, "first_delay": "10ms"},
            "timeout": "30s",
            "compensate": {
                "type": "step",
                "config": {"step": "mutated.note", "arguments": {"value": "{{ some }}"}},
            },
        },
        {"id": "none", "type": "step", "config": {"step": "mutated.note", "arguments": {"value": None}}},
        {
            "id": "mapped",
            "type": "step",
            "config": {"step": "mutated.note", "arguments": {"value": "{{ one }} {{ index }}"}},
            "map": {"over": "variables.names", "item_name": "one", "concurrency": 2, "on_error": "collect"},
            "depends_on": ["some"],
        },
        {
            "id": "looped",
            "type": "step",
            "config": {"step": "mutated.note", "arguments": {"value": "{{ iteration }}"}},
            "loop": {"while": "looped < 2", "max_iterations": 5},
            "when": "size(mapped) > 1",
            "when_unmet": "skip_cascade",
            "depends_on": ["mapped"],
        },
        {"id": "pause", "type": "timer", "config": {"duration": "1s"}, "depends_on": ["looped"]},
        {
            "id": "asked",
            "type": "wait",
            "config": {"event": "word"},
            "timeout": "5s",
            "when_exhausted": "skip",
        },
        {
            "id": "allowed",
            "type": "approval",
            "config": {"prompt": "Go on with {{ first }}?", "form": {"type": "boolean"}},
            "timeout": "5s",
            "when_exhausted": "skip",
            "depends_on": ["first"],
        },
        {
            "id": "inside",
            "type": "workflow",
            "config": {
                "workflow": {
                    "name": "inner",
                    "nodes": [
                        {
                            "id": "a",
                            "type": "step",
                            "config": {"step": "mutated.note", "arguments": {"value": "{{ input }}"}},
                        }
                    ],
                },
                "input": "{{ looped }}",
            },
            "depends_on": ["looped"],
        },
    ],
    "edges": [{"from": "pause", "to": "inside"}],
    "output": "{'inside': inside, 'mapped': mapped, 'asked': asked}",
    "options": {
        "max_parallel": 4,
        "timeout": "1h",
        "on_failure": "compensate",
        "budget": {"max_time": "1h", "max_tokens": 100},
    },
}

_STRANGE: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.sampled_from(
        [0, -1, 1, 501, 10**9, 2**63, -(2**63) - 1, 0.5, 1e308, "", " ", "a", "first", "missing", "10s"]
    )
    | st.sampled_from(
        [
            "{{",
            "{{ }}",
            "{{ first",
            "{{ missing }}",
            "{{ secrets.KEY }}",
            "1 / 0",
            "first.name",
            "[1, 'a', null]",
            "input.count",
            "true",
            "'text'",
            "null",
            "0",
            "1.5",
            "-3",
            "inside",
            "way",
            "{{ first / 0 }}",
            "P1D",
            "-5s",
            "ein\u2028s",
            "x" * 300,
            "mutated.note",
            "step",
            "switch",
            "workflow",
            "timer",
            "skip",
            "fail",
        ]
    )
    | st.just([])
    | st.just({})
    | st.just([[]])
    | st.just(["first", "first"])
    | st.just({"$ref": "https://example.org/schema"})
    | st.just({"first": 1})
    | st.text(max_size=6)
)

Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in a document but the document itself."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in below:
        yield (*path, key)
        yield from places(member, (*path, key))


@st.composite
def mutated_documents(draw: st.DrawFn) -> dict[str, Any]:
    """The rich document with up to three changes."""
    document = copy.deepcopy(RICH)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document))
        if found:
            _change(draw, document, draw(st.sampled_from(found)))
    return document


def _change(draw: st.DrawFn, document: Any, path: Path) -> None:
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    last = path[-1]
    how = draw(st.sampled_from(["replace", "replace", "remove", "move", "copy", "rename"]))
    if how == "replace":
        holder[last] = draw(_STRANGE)
    elif how == "remove":
        del holder[last]
    elif how == "rename" and isinstance(holder, dict):
        holder[
            draw(st.sampled_from(["id", "type", "when", "over", "to", "step", "x", "duration", "until"]))
        ] = holder.pop(last)
    elif how == "copy" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))  # type: ignore[index]
    else:
        source = holder[last]
        other = draw(st.sampled_from(list(places(document))))
        target = document
        for key in other[:-1]:
            target = target[key]
        if len(json.dumps(source)) < 500:  # not ever deeper
            target[other[-1]] = copy.deepcopy(source)
