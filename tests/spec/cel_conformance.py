"""Runs the public conformance cases of CEL against our expressions and counts what passes.

The cases are not part of this project. Get them from https://github.com/google/cel-spec and run

    python tests/spec/cel_conformance.py CEL_SPEC/tests/simple/testdata [--failures]

Cases about what plain JSON and this language do not have (protocol buffer messages, static type checks, extension
libraries, optional values, packages) are counted as not applicable, by their reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from holdfast.errors import InvalidInput
from holdfast.spec import expressions
from holdfast.spec.cel_compile import build
from holdfast.spec.cel_values import (
    NANOS,
    BoolKey,
    CelError,
    CelMap,
    Duration,
    Timestamp,
    Type,
    UInt,
    Work,
    as_key,
)

OTHER_FILES = {
    "proto2": "messages",
    "proto2_ext": "messages",
    "proto3": "messages",
    "enums": "messages",
    "dynamic": "messages",
    "wrappers": "messages",
    "type_deduction": "static types",
    "unknowns": "partial evaluation",
    "optionals": "optional values",
    "macros2": "two-variable macros",
    "namespace": "packages",
}
"""Files that are about something else as a whole."""

MESSAGE = re.compile(
    r"\b[A-Z]\w+\s*\{|\bgoogle\.protobuf\.(?!Timestamp\b|Duration\b)|TestAllTypes|GlobalEnum|\.pb\b"
)
ZONE = re.compile(r"'(?:[A-Z][a-z]+/\w+|US/\w+)'")


ON_PURPOSE = {
    r".*/unbound_is_runtime_error|parse/receiver_function_names/.*": "an unknown name is refused before anything runs",
    r"comparisons/.*_(lossy_double|big_double_int)": "numbers of different types are compared exactly",
}
"""Cases whose outcome is another one here, with the reason."""


class NotApplicable(Exception):
    """The case is about something that expressions do not have."""


def value_of(message: dict[str, list[Any]]) -> Any:
    """The value that a `cel.expr.Value` describes."""
    (kind, (raw, *_)) = next(iter(message.items())) if message else ("null_value", ["NULL"])
    match kind:
        case "null_value":
            return None
        case "bool_value":
            return raw == "true"
        case "int64_value":
            return int(raw)
        case "uint64_value":
            return UInt(raw)
        case "double_value":
            return float(raw)
        case "string_value":
            return raw.decode()
        case "bytes_value":
            return bytes(raw)
        case "type_value":
            return Type(raw.decode())
        case "list_value":
            return [value_of(one) for one in raw.get("values", [])]
        case "map_value":
            made = CelMap()
            for entry in raw.get("entries", []):
                made[as_key(value_of(entry["key"][0]))] = value_of(entry["value"][0])
            return made
        case "object_value":
            return object_of(raw)
        case _:
            raise NotApplicable("messages")


def object_of(raw: dict[str, list[Any]]) -> Any:
    """A timestamp or a duration."""
    (name, (fields, *_)) = next(iter(raw.items()))
    nanos = int(fields.get("seconds", [0])[0]) * NANOS + int(fields.get("nanos", [0])[0])
    if name.endswith("google.protobuf.Timestamp]"):
        return Timestamp(nanos)
    if name.endswith("google.protobuf.Duration]"):
        return Duration(nanos)
    raise NotApplicable("messages")


def alike(one: Any, two: Any) -> bool:
    """Whether two values are the same, their types included."""
    if isinstance(one, BoolKey) or isinstance(two, BoolKey):
        return one is two
    if isinstance(one, list):
        return isinstance(two, list) and len(one) == len(two) and all(map(alike, one, two))
    if isinstance(one, dict):
        return (
            isinstance(two, dict) and set(one) == set(two) and all(alike(one[key], two[key]) for key in one)
        )
    if isinstance(one, float):
        return isinstance(two, float) and (one == two or (math.isnan(one) and math.isnan(two)))
    return type(one) is type(two) and bool(one == two)


def evaluate(text: str, values: dict[str, Any]) -> Any:
    """The value of an expression, before it is made JSON."""
    expression = expressions.compile(text)
    expression.check_names(values)
    return build(expression.tree)(Work(dict(values), 10_000, 100_000_000))


def check(case: dict[str, list[Any]]) -> bool:
    """Whether a case has the expected outcome.

    Raises:
        NotApplicable: It cannot have one here.
    """
    text = case["expr"][0].decode()
    for field, reason in (("check_only", "static types"), ("disable_macros", "macros as functions")):
        if case.get(field) == ["true"]:
            raise NotApplicable(reason)
    if MESSAGE.search(text) or "object_type" in str(case.get("type_env")):
        raise NotApplicable("messages")
    if "google.protobuf." in text or any("." in pair["key"][0].decode() for pair in case.get("bindings", [])):
        raise NotApplicable("packages")
    if ZONE.search(text):
        raise NotApplicable("named time zones")
    values = {
        pair["key"][0].decode(): value_of(pair["value"][0].get("value", [{}])[0])
        for pair in case.get("bindings", [])
    }
    wanted_error = "eval_error" in case or "any_eval_errors" in case
    matcher = case.get("typed_result", [{"result": case.get("value", [{"bool_value": ["true"]}])}])[0]
    wanted = None if wanted_error else value_of(matcher["result"][0])
    try:
        result = evaluate(text, values)
    except (InvalidInput, CelError):
        return wanted_error
    return not wanted_error and alike(result, wanted)


def cases(path: Path) -> list[tuple[str, dict[str, list[Any]]]]:
    """The cases of a file with their names."""
    # This file runs by its path, so that it needs no package around it.
    spec = importlib.util.spec_from_file_location("textproto", Path(__file__).with_name("textproto.py"))
    assert spec is not None
    assert spec.loader is not None
    textproto = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(textproto)
    return [
        (f"{path.stem}/{section['name'][0].decode()}/{case['name'][0].decode()}", case)
        for section in textproto.parse(path.read_text("utf-8")).get("section", [])
        for case in section.get("test", [])
    ]


def main() -> int:
    """Print the counts; 1 when a case that applies fails."""
    parser = argparse.ArgumentParser(description="Run CEL's conformance cases.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--failures", action="store_true", help="list each case that fails")
    options = parser.parse_args()
    passed: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    other: Counter[str] = Counter()
    purpose: Counter[str] = Counter()
    for path in sorted(options.folder.glob("*.textproto")):
        reason = OTHER_FILES.get(path.stem) or ("extension libraries" if path.stem.endswith("_ext") else None)
        for name, case in cases(path):
            try:
                if reason is not None:
                    raise NotApplicable(reason)
                good = check(case)
            except NotApplicable as skipped:
                other[str(skipped)] += 1
                continue
            why = next((why for pattern, why in ON_PURPOSE.items() if re.fullmatch(pattern, name)), None)
            if not good and why is not None:
                purpose[why] += 1
                continue
            (passed if good else failed)[path.stem] += 1
            if not good and options.failures:
                print(f"FAILED {name}: {case['expr'][0].decode()}")
    for name in sorted({*passed, *failed}):
        print(f"{name:14} {passed[name]:4} of {passed[name] + failed[name]:4}")
    total = passed.total() + failed.total() + purpose.total()
    print(f"{'':14} {passed.total():4} of {total:4} cases pass")
    for why, count in purpose.most_common():
        print(f"other on purpose: {count} ({why})")
    reasons = ", ".join(f"{count} {reason}" for reason, count in other.most_common())
    print(f"not applicable: {other.total()} ({reasons})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
