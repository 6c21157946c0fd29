"""The documentation misses no setting and no error code, and points at files that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from holdfast.authoring.catalogue import ExecutorEntry, catalogue
from holdfast.errors import error_types
from holdfast.spec.names import CONTROL_TYPES, STEP_TYPE
from holdfast_server.cli.app import app
from holdfast_server.cli.exits import ExitCode

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
PAGES = sorted([*ROOT.glob("*.md"), *GUIDE.glob("*.md")])
VARIABLE = re.compile(r"HOLDFAST_[A-Z_]+")


def settings() -> set[str]:
    """The variables that the only reader of the environment names."""
    return set(VARIABLE.findall((ROOT / "sdk/holdfast/settings.py").read_text("utf-8")))


def test_every_setting_is_in_the_example_file_with_its_meaning() -> None:
    paragraphs = (ROOT / ".env.example").read_text("utf-8").split("\n\n")
    explained = {
        name
        for paragraph in paragraphs
        for line in paragraph.splitlines()
        if paragraph.startswith("#") and not line.startswith("#")
        for name in VARIABLE.findall(line)[:1]
    }
    assert explained == settings()


def test_every_setting_is_documented() -> None:
    assert set(VARIABLE.findall((GUIDE / "settings.md").read_text("utf-8"))) == settings()


def test_every_error_code_is_documented_under_its_class() -> None:
    rows = re.findall(
        r"^\| `(HF-\d{4})` \| `(\w+)` \|", (GUIDE / "errors.md").read_text("utf-8"), re.MULTILINE
    )
    assert dict(rows) == {code: cls.__name__ for code, cls in error_types().items()}


def commands(command: Any, name: str = "holdfast") -> Iterator[str]:
    """The full names of all commands."""
    inner: dict[str, Any] = getattr(command, "commands", {})
    if not inner:
        yield name
    for word, sub in inner.items():
        yield from commands(sub, f"{name} {word}")


def test_every_command_and_exit_code_is_documented() -> None:
    page = (GUIDE / "cli.md").read_text("utf-8")
    documented = re.findall(r"^\| `(holdfast [a-z -]+)` \|", page, re.MULTILINE)
    assert sorted(documented) == sorted(commands(typer.main.get_command(app)))
    codes = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)
    assert [int(code) for code in codes] == [code.value for code in ExitCode]


def section(title: str) -> str:
    """What stands in the guide about it: a page of that name, or what follows this title, with its subsections."""
    if (page := GUIDE / f"{title}.md").exists():
        return page.read_text("utf-8")
    for page in sorted(GUIDE.glob("*.md")):
        text = page.read_text("utf-8")
        found = re.search(rf"^(#+) `?{re.escape(title)}`?$", text, re.MULTILINE | re.IGNORECASE)
        if found is not None:
            rest = text[found.end() :]
            end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
            return rest[: end.start()] if end else rest
    return ""


def fields(entry: ExecutorEntry) -> set[str]:
    return {
        name for schema in (entry.config_schema, entry.output_schema) for name in schema.get("properties", {})
    }


BUILT_IN = [entry for entry in catalogue().values() if entry.package == "holdfast"]
"""Without those that other test files, imported into the same process, register."""


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: entry.type)
def test_every_field_of_an_executor_is_documented(entry: ExecutorEntry) -> None:
    rows = set(re.findall(r"^\| `(\w+)`", section(entry.type), re.MULTILINE))
    assert fields(entry) - rows == set(), f"under the title {entry.type!r}"


def test_every_type_that_the_run_carries_out_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)`", section("Types that the run carries out"), re.MULTILINE)
    assert sorted(rows) == sorted({*CONTROL_TYPES, STEP_TYPE})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_pages_is_valid(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        compile(block, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
