"""What the calls that follow from a first one differ in."""

from __future__ import annotations

import pytest

from holdfast.authoring.next_call import merge_patch


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        ({"a": None, "b": 1}, {}, {"a": None, "b": 1}),
        ({"a": None, "b": 1}, {"b": None}, {"a": None}),
        ({"a": {"b": 1, "c": None}}, {"a": {"b": 2}}, {"a": {"b": 2, "c": None}}),
        ({"a": [1]}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"a": 1}, [2], [2]),
    ],
)
def test_a_patch_changes_what_it_names_and_nothing_else(value: object, patch: object, result: object) -> None:
    assert merge_patch(value, patch) == result
