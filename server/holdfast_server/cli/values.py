"""Values on the command line: JSON, `@FILE`, or `-` for stdin."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from holdfast import InvalidInput, NotFound, Workflow
from holdfast.misfit import invalid

MAX_INPUT_BYTES = 64 * 1024 * 1024


def read_json(text: str, *, option: str) -> Any:
    """The value that an option gives.

    Raises:
        NotFound: `@FILE` names no file.
        InvalidInput: It is no JSON, or is larger than 64 MiB.
    """
    where = option
    if text == "-":
        raw, where = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1), "stdin"
    elif text.startswith("@"):
        where = text[1:]
        try:
            with Path(where).open("rb") as file:
                raw = file.read(MAX_INPUT_BYTES + 1)
        except OSError as error:
            raise NotFound(f"{option} {text!r}: {error.strerror}") from error
    else:
        raw = text.encode("utf-8", "surrogateescape")
    if len(raw) > MAX_INPUT_BYTES:
        raise InvalidInput(f"{where} is over {MAX_INPUT_BYTES // 1024 // 1024} MiB")
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        hint = f"; a text needs quotes: {option} '\"{text}\"'" if text.isalnum() else ""
        raise InvalidInput(f"{where} is no JSON: {error}{hint}") from error


def arguments(workflow: Workflow[..., Any], value: JsonValue) -> list[Any]:
    """The arguments of a workflow, from one JSON value.

    The first reading that fits the declared types counts. For a workflow of one parameter: the value is the argument;
    else a list holds it, or an object holds it by its name. For one of several: a list holds all in order, an object
    holds them by name; else the value is the first argument.

    Raises:
        InvalidInput: No reading fits; the message is about the likeliest one.
    """
    names = workflow.signature.names
    readings: list[_Reading] = [([value], {})]
    is_all = False
    if isinstance(value, list):
        readings.append((value, {}))
        is_all = len(names) != 1 or len(value) == 1
    elif isinstance(value, dict):
        readings.append(([], value))
        is_all = len(names) != 1 or (bool(value) and value.keys() <= set(names))
    errors: list[InvalidInput] = []
    single_first = len(names) == 1
    for positional, named in readings if single_first else reversed(readings):
        try:
            return _typed(workflow, workflow.signature.bind(positional, named))
        except InvalidInput as error:
            errors.append(error)
    raise errors[-1] if single_first and is_all else errors[0]


_Reading = tuple[Sequence[JsonValue], Mapping[str, JsonValue]]
"""Positional and named arguments."""


def _typed(workflow: Workflow[..., Any], values: list[Any]) -> list[Any]:
    signature = workflow.signature
    found: list[Any] = []
    for name, value, adapter in zip(signature.names, values, signature.adapters, strict=True):
        where = f"Argument {name!r} of workflow {workflow.name!r}"
        found.append(_decoded(value, adapter, where))
    return found


def _decoded(value: Any, adapter: TypeAdapter[Any], where: str) -> Any:
    try:
        return adapter.validate_json(to_json(value), by_alias=True, by_name=True)
    except ValidationError as error:
        raise invalid(error, where) from error
