"""`holdfast executors`, and what the doctor says of executors."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest
from tests.executors.plugin_packages import PROBLEMS, SOURCES, install
from tests.server.conftest import Cli

from holdfast.settings import load
from holdfast_server import executors
from holdfast_server.doctor import Verdict, examine


@pytest.fixture
def plugins(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line where good and bad packages are installed."""
    install(tmp_path, *SOURCES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return cli


def test_the_executors_of_holdfast_are_listed_with_what_they_are(cli: Cli) -> None:
    found = cli.json("executors", "list")
    listed = {one["type"]: one for one in found["executors"]}
    assert {"http", "transform"} <= listed.keys()
    assert found["problems"] == []
    transform = listed["transform"]
    assert (transform["package"], transform["version"]) == (
        "holdfast",
        importlib.metadata.version("holdfast"),
    )
    assert transform["options"]["local"]
    shown = cli("executors", "list")
    assert shown.returncode == 0
    [line] = [line for line in shown.stdout.splitlines() if line.startswith("transform ")]
    for part in ("holdfast 0.1", "idempotent, may run local", "Makes a value of other values"):
        assert part in line


def test_broken_packages_are_named_and_the_others_listed(plugins: Cli) -> None:
    done = plugins.process("executors", "list", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)  # what a package prints while it is imported is no result
    listed = {one["type"]: one for one in found["executors"]}
    assert (listed["good"]["package"], listed["good"]["version"]) == ("hf-good", "1.2.3")
    assert "http" in listed
    problems = {one["type"]: one for one in found["problems"]}
    assert problems.keys() == PROBLEMS.keys()
    for kind, says in PROBLEMS.items():
        assert says in problems[kind]["message"]
        assert "hf-" in problems[kind]["package"]
    assert "holdfast" in problems["transform"]["message"]
    assert "hf-usurper" in problems["transform"]["message"]
    shown = plugins.process("executors", "list")
    assert all(says in shown.stderr for says in PROBLEMS.values())
    assert "hf-good 1.2.3" in shown.stdout


def test_an_executor_is_shown_with_its_fields(plugins: Cli) -> None:
    shown = plugins.process("executors", "show", "good").stdout
    for part in ("Repeats its input.", "package hf-good 1.2.3", "timeout 5 min 0 s, 3 attempts, idempotent"):
        assert part in shown
    [row] = [line.split() for line in shown.splitlines() if line.startswith("times ")]
    assert row == ["times", "integer", "2", "How", "often."]
    document: dict[str, Any] = json.loads(plugins.process("executors", "show", "good", "--json").stdout)
    assert document["config_schema"]["additionalProperties"] is False
    assert document["output_schema"]["type"] == "array"


def test_one_that_cannot_be_used_or_is_not_there_is_an_error(plugins: Cli) -> None:
    broken = plugins.process("executors", "show", "unfinished")
    assert (broken.returncode, PROBLEMS["unfinished"] in broken.stderr) == (2, True)
    unknown = plugins.process("executors", "show", "nobody")
    assert (
        unknown.returncode,
        "there is no executor 'nobody' here; there is: convert, emit, good" in unknown.stderr,
    ) == (
        3,
        True,
    )


def test_the_doctor_names_broken_packages_and_what_to_do(plugins: Cli) -> None:
    done = plugins.process("doctor", "--json")
    assert done.returncode == 1
    failed = [one for one in json.loads(done.stdout) if one["verdict"] == "fail"]
    assert {one["check"] for one in failed} == {"executors"}
    for says in PROBLEMS.values():
        assert any(says in one["found"] for one in failed)
    assert any(
        "mend, upgrade or remove hf-unfinished; until then nodes of type" in one["advice"] for one in failed
    )


async def test_the_doctor_names_a_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version_of(package: str) -> str:
        return "" if package in ("openai", "jq") else "1"

    monkeypatch.setattr(executors, "version_of", version_of)
    found = [one async for one in examine(load(tmp_path)) if one.check == "executors"]
    warned = {one.found: one.advice for one in found if one.verdict is Verdict.WARN}
    assert warned == {
        "llm misses openai": "pip install 'holdfast[llm]', if you use it",
        "transform misses jq": "pip install 'holdfast[jq]', if you use it",
    }


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({}, "any"),
        ({"$ref": "#/$defs/JsonValue"}, "any"),
        ({"$ref": "#/$defs/Item"}, "Item"),
        ({"$ref": "#/$defs/Nest"}, "list of Nest"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
        ({"enum": ["one", 2]}, '"one" | 2'),
        ({"const": True}, "true"),
        ({"type": "array", "items": {"$ref": "#/$defs/Item"}}, "list of Item"),
        ({"type": ["string", "integer"]}, "string | integer"),
    ],
)
def test_types_are_written_for_people(schema: dict[str, Any], text: str) -> None:
    definitions = {
        "JsonValue": {},
        "Item": {"type": "object", "properties": {}},
        "Nest": {"type": "array", "items": {"$ref": "#/$defs/Nest"}},
    }
    assert executors.type_text(schema, {"$defs": definitions}) == text
