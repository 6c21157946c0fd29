"""A small expression language for tests of what is around expressions, and random documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st

from holdfast.errors import InvalidInput

WORD = re.compile(r"(?<![.\w])[A-Za-z_]\w*")
HOLE = re.compile(r"\{\{(.*?)\}\}")


@dataclass(frozen=True)
class Words:
    names: frozenset[str]


class WordLanguage:
    """Every word is a name, except calls and the constants; `!!` does not compile."""

    def compile(self, text: str) -> Words:
        if "!!" in text:
            raise InvalidInput(f"{text!r} is no expression")
        without_text = re.sub(r'"[^"]*"', "", text)
        words = (
            set(WORD.findall(without_text)) - set(re.findall(r"(\w+)\(", without_text)) - {"true", "false"}
        )
        return Words(frozenset(words))

    def template(self, text: str) -> Sequence[Words]:
        return [self.compile(part) for part in HOLE.findall(text)]


@pytest.fixture(scope="session")
def language() -> WordLanguage:
    return WordLanguage()


IDS = st.integers(0, 60).map(lambda number: f"node_{number:02d}")


@st.composite
def random_dags(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document: each node depends on some of those before it."""
    ids = draw(st.lists(IDS, min_size=1, max_size=12, unique=True))
    nodes: list[dict[str, Any]] = []
    for index, node_id in enumerate(ids):
        node: dict[str, Any] = {"id": node_id, "type": draw(st.sampled_from(["fetcher", "step", "thinker"]))}
        before = draw(st.lists(st.sampled_from(ids[:index]), unique=True)) if index else []
        if before:
            node["depends_on"] = before
            if draw(st.booleans()):
                node["when"] = f"size({before[0]}) > 0"
        node["config"] = (
            draw(CONFIGS) if node["type"] != "step" else {"step": draw(st.sampled_from(["a", "b"]))}
        )
        if draw(st.booleans()):
            node["timeout"] = draw(st.sampled_from(["30s", "PT1H", 5, 0.5]))
        if draw(st.booleans()):
            node["retry"] = draw(st.sampled_from(["patient", "none", {"max_attempts": 7}]))
        nodes.append(node)
    document: dict[str, Any] = {"name": draw(st.sampled_from(["etl", "a.b:c-d"])), "nodes": nodes}
    if draw(st.booleans()):
        document["output"] = ids[-1]
    return document


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda text: "{{" not in text)
    | st.sampled_from(
        ["on", "yes", "no", "~", "null", "0o14", "1e3", "0x1F", ".inf", "1_000", "2026-01-01", "- a", "a: b"]
    )
)
CONFIGS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["on", "<<", "1", "null", "a b"]),
    st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)
