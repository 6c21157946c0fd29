"""What a value breaks of a JSON Schema: one sentence for each thing that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import jsonschema_rs
from jsonschema_rs import ValidationError
from jsonschema_rs import ValidationErrorKind as Kind

from holdfast.spec.check_graph import closest
from holdfast.spec.plain import json_shown

JsonSchema: TypeAlias = Mapping[str, Any]
Path: TypeAlias = Sequence[str | int]
Problem: TypeAlias = tuple[str, Path]

_KEY_KINDS: Final = frozenset(
    {"required", "additionalProperties", "unevaluatedProperties", "minProperties", "maxProperties"}
)
_FORMS: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_VALUE: Final = "\0"
"""Stands for the value in what the validator says, which would quote all of it."""
_MAX_REFERENCES: Final = 8
_MAX_NAMED: Final = 8
_UNIONS: Final = (Kind.AnyOf, Kind.OneOfNotValid)
_CHOICES: Final = (Kind.Enum, Kind.Constant)


def has_template(value: Any) -> bool:
    """Whether there is a `{{` in any string of a value."""
    if isinstance(value, str):
        return "{{" in value
    members: list[Any] = []
    if isinstance(value, dict | list):
        members += value.values() if isinstance(value, dict) else value
    return any(map(has_template, members))


def any_of(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last


def validator_of(schema: JsonSchema | bool) -> jsonschema_rs.Validator:
    """What checks values against a schema. References outside the schema are never fetched.

    Raises:
        ValueError: It is not a JSON Schema.
    """
    try:
        return jsonschema_rs.validator_for(
            dict(schema) if isinstance(schema, Mapping) else schema,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),  # linear time, whatever the pattern
            mask=_VALUE,
        )
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        message = getattr(error, "message", str(error))
        wrong = getattr(error, "instance", None)
        raise ValueError(message.replace(_VALUE, f"{wrong!r:.200}")) from None


def clashes(
    schema: JsonSchema, value: object, shown: Callable[[object], str]
) -> list[tuple[Path, list[Problem]]]:
    """The parts of a value that are of a wrong kind, none of what may be chosen, or unknown.

    Args:
        schema: What it is checked against.
        value: Plain JSON.
        shown: How a value is quoted.

    Returns:
        Where each stands, outside of any union, and what is wrong with it.
    """
    words, kinds = Words(schema, False, shown), (*_UNIONS, *_CHOICES, Kind.Type)
    found: dict[tuple[str | int, ...], list[ValidationError]] = {}
    unknown: list[tuple[Path, list[Problem]]] = []
    for error in validator_of(schema).iter_errors(value):
        if isinstance(error.kind, kinds):
            found.setdefault(tuple(error.instance_path), []).append(error)
        elif isinstance(error.kind, Kind.AdditionalProperties):
            for name in error.kind.unexpected:
                path = [*error.instance_path, name]
                unknown.append((path, [(f"there is no such field. {words.fields(error, name)}", path)]))
    return [(path, words.problems(errors)) for path, errors in found.items()] + unknown


@dataclass(frozen=True)
class Words:
    """Tells what validators find.

    Args:
        schema: What the values are checked against.
        templates: Whether a `{{ }}` satisfies whatever stands in its place.
        shown: How a value is quoted.
    """

    schema: JsonSchema | bool
    templates: bool
    shown: Callable[[object], str] = json_shown

    def problems(self, errors: Iterable[ValidationError]) -> list[Problem]:
        """What is wrong, and where. Of a union, only what is wrong with the member that was meant, if one was."""
        errors = list(errors)
        # Where there are choices, they say more than the type does.
        told = {
            tuple(error.instance_path) for error in errors if isinstance(error.kind, (*_UNIONS, *_CHOICES))
        }
        found: list[Problem] = []
        for error in errors:
            if isinstance(error.kind, _UNIONS):
                found += self._of_union(error)
            elif isinstance(error.kind, Kind.Type) and tuple(error.instance_path) in told:
                continue
            elif not self._may_be_mended(error):
                found.append((self._told(error), error.instance_path))
        return [problem for at, problem in enumerate(found) if problem not in found[:at]]

    def fields(self, error: ValidationError, name: str) -> str:
        """The fields that there are where one is unknown, the one that was probably meant first."""
        known = list(self._part(error.schema_path[:-1]).get("properties", {}))
        return f"{closest(name, known)}There is: {', '.join(known) or 'none'}"

    def _of_union(self, error: ValidationError) -> list[Problem]:
        kind, value, path = error.kind, error.instance, error.instance_path
        assert isinstance(kind, _UNIONS)
        holder = self._part(error.schema_path[:-1])
        members: list[JsonSchema] = [self._resolved(member) for member in self._parts(error.schema_path)]
        tag = _tag(holder)
        if tag and isinstance(value, dict):
            return self._of_tagged(error, tag, members)
        branches = [
            errors
            for member, errors in zip(members, kind.context, strict=True)
            if member.get("type") != "null"
        ]
        meant = [errors for errors in branches if not any(_is_of_another_kind(one, path) for one in errors)]
        if len(branches) == 1 and branches[0]:
            return self.problems(branches[0])
        if len(meant) == 1 and isinstance(value, dict | list):
            return self.problems(meant[0])
        if self.templates and has_template(value):
            return []
        allowed = any_of(self._forms(holder))
        if tag:
            allowed = f"an object with {tag!r}: {self._tags(members, tag)}"
        elif such_as := holder.get("examples"):
            allowed += f", such as {any_of(map(json_shown, such_as))}"
        return [(f"expected {allowed}, got {self.shown(value)}", path)]

    def _of_tagged(self, error: ValidationError, tag: str, members: list[JsonSchema]) -> list[Problem]:
        assert isinstance(error.kind, _UNIONS)
        value = cast("dict[str, Any]", error.instance)
        if tag not in value:
            return [(self._untagged(members, tag), error.instance_path)]
        if self.templates and has_template(value[tag]):
            return []
        for member, errors in zip(members, error.kind.context, strict=True):
            if value[tag] in _choices(member.get("properties", {}).get(tag, {})):
                return self.problems(errors)
        allowed = self._tags(members, tag)
        return [(f"expected {allowed}, got {self.shown(value[tag])}", [*error.instance_path, tag])]

    def _untagged(self, members: Iterable[JsonSchema], tag: str) -> str:
        return f"the field {tag!r} is missing: it says which one it is, {self._tags(members, tag)}"

    def _tags(self, members: Iterable[JsonSchema], tag: str) -> str:
        values = [
            value for member in members for value in _choices(member.get("properties", {}).get(tag, {}))
        ]
        return any_of(map(json_shown, values)) if values else "anything"

    def _forms(self, schema: JsonSchema, level: int = 0) -> list[str]:
        """What a schema takes, in words."""
        schema = self._resolved(schema)
        members = schema.get("anyOf") or schema.get("oneOf")
        if members and level < _MAX_REFERENCES:  # it may refer to itself
            forms = [form for member in members for form in self._forms(member, level + 1)]
            return [form for form in forms if form != _FORMS["integer"] or _FORMS["number"] not in forms]
        if choices := _choices(schema):
            return [json_shown(choice) for choice in choices]
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds == ["string"] and "pattern" in schema and "title" in schema:
            return [str(schema["title"])]
        named = schema.get("required") or list(schema.get("properties", {}))
        if kinds == ["object"] and named:
            return [f"an object with {', '.join(map(repr, named[:_MAX_NAMED]))}"]
        return [_FORMS[kind] for kind in kinds if kind in _FORMS] or ["anything"]

    def _told(self, error: ValidationError) -> str:
        kind, holder = error.kind, self._part(error.schema_path[:-1])
        known = list(holder.get("properties", {}))
        if isinstance(kind, Kind.AdditionalProperties) and known:
            wrong = ", ".join(map(repr, kind.unexpected))
            return f"there is no field {wrong}. {self.fields(error, kind.unexpected[0])}"
        if (
            isinstance(kind, Kind.MinProperties | Kind.MaxProperties)
            and known
            and holder.get("minProperties") == holder.get("maxProperties") == 1
        ):
            return f"it takes one of {', '.join(known)}, and has {', '.join(_keys(error.instance)) or 'none'}"
        tag = _tag(holder)
        if (
            tag
            and isinstance(kind, Kind.Required | Kind.OneOfMultipleValid)
            and tag not in _keys(error.instance)
        ):
            return self._untagged(map(self._resolved, holder.get("oneOf", [])), tag)
        if isinstance(kind, Kind.Required):
            return f"the field {kind.property!r} is missing"
        if isinstance(kind, Kind.Type | Kind.Enum | Kind.Constant):
            # The keyword alone: what else the schema says is satisfied.
            keyword = str(error.schema_path[-1])
            part = {keyword: holder[keyword]}
            return f"expected {any_of(self._forms(part))}, got {self.shown(error.instance)}"
        return error.message.replace(_VALUE, self.shown(error.instance))

    def _may_be_mended(self, error: ValidationError) -> bool:
        keyword = str(error.schema_path[-1]) if error.schema_path else ""
        return self.templates and keyword not in _KEY_KINDS and has_template(error.instance)

    def _part(self, path: Path) -> JsonSchema:
        part: Any = self.schema
        for step in path:
            part = part[step]
        return _mapping(part)

    def _parts(self, path: Path) -> list[Any]:
        return list(self._part(path[:-1])[str(path[-1])])

    def _resolved(self, schema: Any) -> JsonSchema:
        """A schema, or the one of the same document that it refers to."""
        found = _mapping(schema)
        for _ in range(_MAX_REFERENCES):
            target = found.get("$ref")
            if not isinstance(target, str) or not target.startswith("#/"):
                break
            found = self._part([step.replace("~1", "/").replace("~0", "~") for step in target[2:].split("/")])
        return found


def _mapping(value: object) -> JsonSchema:
    return cast("JsonSchema", value) if isinstance(value, Mapping) else {}


def _tag(schema: JsonSchema) -> str | None:
    """The field that says which member of a union is meant."""
    name = _mapping(schema.get("discriminator")).get("propertyName")
    return name if isinstance(name, str) else None


def _choices(schema: JsonSchema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", []))


def _is_of_another_kind(error: ValidationError, path: Path) -> bool:
    return isinstance(error.kind, Kind.Type) and list(error.instance_path) == list(path)


def _keys(value: object) -> list[str]:
    return list(cast("dict[str, object]", value)) if isinstance(value, dict) else []
