"""What is said of a value that breaks a JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.spec.check_config import compile_schema
from holdfast.spec.source import path_text

CAR = {
    "type": "object",
    "properties": {"kind": {"const": "car"}, "doors": {"type": "integer"}},
    "required": ["doors"],
    "additionalProperties": False,
}
BOAT = {"type": "object", "properties": {"kind": {"const": "boat"}, "name": {"type": "string"}}}
SCHEMA: dict[str, Any] = {
    "$defs": {"Car": CAR, "Boat": BOAT, "tree": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}},
    "type": "object",
    "properties": {
        "vehicle": {
            "anyOf": [
                {
                    "oneOf": [{"$ref": "#/$defs/Car"}, {"$ref": "#/$defs/Boat"}],
                    "discriminator": {"propertyName": "kind"},
                    "required": ["kind"],
                },
                {"type": "null"},
            ]
        },
        "color": {"type": "string", "enum": ["red", "blue"]},
        "one": {"const": 1},
        "size": {"anyOf": [{"enum": ["s", "m"]}, {"type": "integer"}, {"type": "number"}]},
        "forms": {"anyOf": [CAR, BOAT]},
        "names": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "null"]}}]},
        "when": {"anyOf": [{"type": "string", "pattern": "^P"}, {"type": "number"}], "examples": ["PT1S", 1]},
        "never": {"anyOf": [False, {"type": "null"}]},
        "long": {"type": "string", "maxLength": 3},
        "tree": {"anyOf": [{"$ref": "#/$defs/tree", "type": "integer"}, {"type": "array"}]},
    },
}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"vehicle": None}, []),
        ({"vehicle": {"kind": "car", "doors": 4}}, []),
        ({"vehicle": {"kind": "plane"}}, ['vehicle.kind: expected "car" or "boat", got "plane"']),
        ({"vehicle": {"kind": ["car"]}}, ['vehicle.kind: expected "car" or "boat", got ["car"]']),
        ({"vehicle": {"doors": 4}}, [
            "vehicle: the field 'kind' is missing: it says which one it is, \"car\" or \"boat\""
        ]),
        ({"vehicle": "car"}, ['vehicle: expected an object with \'kind\': "car" or "boat", got "car"']),
        ({"vehicle": {"kind": "car"}}, ["vehicle: the field 'doors' is missing"]),
        ({"vehicle": {"kind": "car", "doors": "4"}}, ['vehicle.doors: expected a whole number, got "4"']),
        ({"vehicle": {"kind": "car", "doors": 4, "door": 1}}, [
            "vehicle: there is no field 'door'. Did you mean 'doors'? There is: kind, doors"
        ]),
        ({"color": "green"}, ['color: expected "red" or "blue", got "green"']),
        ({"color": 3}, ['color: expected "red" or "blue", got 3']),
        ({"one": 2}, ["one: expected 1, got 2"]),
        ({"size": "xl"}, ['size: expected "s", "m" or a number, got "xl"']),
        ({"forms": 3}, ["forms: expected an object with 'doors' or an object with 'kind', 'name', got 3"]),
        ({"names": 3}, ["names: expected text or a list, got 3"]),
        ({"names": ["a", 3]}, ["names[1]: expected text or null, got 3"]),
        ({"when": "soon"}, ['when: expected text or a number, such as "PT1S" or 1, got "soon"']),
        ({"when": {"a": "b" * 99}}, ['when: expected text or a number, such as "PT1S" or 1, got an object']),
        ({"long": "x" * 999}, [f'long: "{"x" * 59}... is longer than 3 characters']),
        ({"vehicle": {"kind": "plane"}, "color": 3}, [
            'color: expected "red" or "blue", got 3', 'vehicle.kind: expected "car" or "boat", got "plane"'
        ]),
    ],
)  # fmt: skip
def test_each_wrong_value_is_one_sentence(value: dict[str, Any], said: list[str]) -> None:
    assert sorted(told(value)) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"vehicle": "{{ input }}"}, []),
        ({"vehicle": {"kind": "{{ input }}", "wings": 2}}, []),
        ({"vehicle": {"kind": "car", "doors": "{{ input }}"}}, []),
        ({"names": ["{{ input }}"]}, []),
        ({"when": ["{{ input }}"]}, []),
        ({"color": "{{ input }}", "size": "{{ input }}"}, []),
        ({"vehicle": {"kind": "car", "note": "{{ input }}"}}, [
            "vehicle: the field 'doors' is missing", "vehicle: there is no field 'note'. There is: kind, doors"
        ]),
        ({"vehicle": {"kind": "plane", "name": "{{ input }}"}}, [
            'vehicle.kind: expected "car" or "boat", got "plane"'
        ]),
    ],
)  # fmt: skip
def test_a_template_satisfies_what_stands_in_its_place_and_nothing_else(
    value: dict[str, Any], said: list[str]
) -> None:
    assert sorted(told(value, templates=True)) == said


@pytest.mark.parametrize("value", [{"never": 1}, {"tree": "x"}])
def test_odd_schemas_are_told_too(value: dict[str, Any]) -> None:
    assert len(told(value)) == 1


def told(value: dict[str, Any], *, templates: bool = False) -> list[str]:
    return [
        f"{path_text(path)}: {message}"
        for message, path in compile_schema(SCHEMA, templates=templates)(value)
    ]
