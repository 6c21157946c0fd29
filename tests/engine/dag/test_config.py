"""What the configs of nodes say to the interpreter."""

from __future__ import annotations

import pytest

from holdfast import InvalidInput
from holdfast.engine.dag.config import map_items


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ("abc", "text"),
        ({"a": 1}, "an object"),
        (2.5, "the number 2.5"),
        (True, "true"),
        (None, "null, as the output of a skipped node is"),
        (-1, "-1: a count is zero or more"),
    ],
)
def test_what_no_map_runs_over_is_named_in_the_words_of_json(over: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=rf"map\.over of node 'm' is {words}"):
        map_items(over, "m")
