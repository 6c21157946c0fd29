"""The guide has the same table as the code, and its examples are what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.spec.audit import LEVELS, RULES, audit_document, audit_source

PAGE = (Path(__file__).parents[3] / "docs" / "guide" / "audit.md").read_text("utf-8")
ROW = re.compile(r"^\| `(HF-A\d{3})` \| (.+) \|$", re.MULTILINE)
IMPORTS = """
import asyncio, os, time, uuid
from datetime import datetime, timedelta
from pathlib import Path
from holdfast import now, step, workflow
"""


def sections() -> dict[str, str]:
    """What the page has under a heading, for each code that the heading names."""
    parts = re.split(r"^(### .*)$", PAGE, flags=re.MULTILINE)
    return {
        code: below
        for heading, below in zip(parts[1::2], parts[2::2], strict=True)
        for code in _codes(heading)
    }


def _codes(text: str) -> list[str]:
    return re.findall(r"HF-A\d{3}", text)


def test_the_table_of_the_guide_is_that_of_the_code() -> None:
    rows = {code: rest.split(" | ") for code, rest in ROW.findall(PAGE)}
    assert rows == {code: [rule.meaning, *map(str, rule.grades)] for code, rule in RULES.items()}
    assert f"| Code | What | {' | '.join(LEVELS)} |" in PAGE


def test_every_rule_has_an_example_under_its_meaning() -> None:
    assert sorted(sections()) == sorted(RULES)
    headings = " ".join(re.findall(r"^### (.*)$", PAGE, re.MULTILINE))
    assert [code for code, rule in RULES.items() if f"`{code}`: {rule.meaning}" not in headings] == []


@pytest.mark.parametrize("code", RULES)
def test_the_example_breaks_its_rule_at_the_line_that_says_so(code: str) -> None:
    block = re.search(r"```(yaml|python)\n(.*?)```", sections()[code], re.DOTALL)
    assert block is not None
    if block[1] == "yaml":
        found = audit_document(f"name: example\n{block[2]}", yaml=True, level="pedantic")
        assert code in {finding.code for finding in found}
        return
    source = IMPORTS + block[2]
    lines = [
        finding.line for finding in audit_source(source, "page.py", level="pedantic") if finding.code == code
    ]
    marked = [
        number for number, line in enumerate(source.splitlines(), 1) if f"# {code}" in line or "allow" in line
    ]
    assert lines == marked
