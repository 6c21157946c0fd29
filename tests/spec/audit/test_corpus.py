"""Sixty workflows in the manner of real ones: every line that breaks a rule is found, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.spec.audit import RULES, Level, audit_source

CORPUS = Path(__file__).parent / "corpus"
BAD = sorted((CORPUS / "bad").glob("*.py"))
GOOD = sorted((CORPUS / "good").glob("*.py"))
MARK = re.compile(r"# (expect|strict): ((?:HF-A\d{3}(?:, )?)+)")


def marked(text: str, level: Level) -> Iterator[tuple[int, str]]:
    """The lines and codes that a file's own comments announce; `strict` ones only from that level on."""
    for number, line in enumerate(text.splitlines(), start=1):
        for word, codes in MARK.findall(line):
            if word == "expect" or level == "strict":
                yield from ((number, code) for code in codes.split(", "))


def found(path: Path, level: Level) -> list[tuple[int, str]]:
    text = path.read_text("utf-8")
    return sorted((finding.line or 0, finding.code) for finding in audit_source(text, path.name, level=level))


def test_the_corpus_is_whole() -> None:
    assert (len(BAD), len(GOOD)) == (30, 30)
    announced = {code for path in BAD for _, code in marked(path.read_text("utf-8"), "strict")}
    rules_about_code = {code for code in RULES if code >= "HF-A013"} - {"HF-A014"}
    assert announced == rules_about_code


@pytest.mark.parametrize("level", ["normal", "strict"])
@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_what_is_wrong_is_found_and_nothing_else(path: Path, level: Level) -> None:
    expected = sorted(marked(path.read_text("utf-8"), level))
    assert [line for line, code in expected if RULES[code].normal.severity(1)], "a bad file has bad lines"
    assert found(path, level) == expected


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_workflows_are_left_alone(path: Path) -> None:
    assert found(path, "normal") == []


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_strict_says_more_about_good_workflows_only_where_they_announce_it(path: Path) -> None:
    assert found(path, "strict") == sorted(marked(path.read_text("utf-8"), "strict"))
