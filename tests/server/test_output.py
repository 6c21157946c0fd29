"""What the commands print is safe for a terminal and right for a program."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from holdfast_server.cli.app import app
from holdfast_server.cli.duration import duration
from holdfast_server.cli.output import clean, print_json, span, stdout, table

ROOT = Path(__file__).parents[2]


@given(st.text(alphabet=st.characters()))
def test_no_text_reaches_the_terminal_as_a_command(text: str) -> None:
    shown = clean(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    shown.encode("utf-8")


def test_direction_changes_and_line_breaks_are_shown() -> None:
    assert clean("a\u202eb\nc\x9b") == "a\\u202eb\\nc\\x9b"
    assert clean("a\nb\x1b", lines=True) == "a\nb\\x1b"
    assert clean("Grüße 🎉") == "Grüße 🎉"


def test_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    stdout().print(table(["run"], [["[red]x[/red] :smile:"]]))
    assert "[red]x[/red] :smile:" in capsys.readouterr().out


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_json_stays_the_same_value(text: str) -> None:
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as out:
        print_json({"text": text})
    assert json.loads(out.getvalue()) == {"text": text}
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("1h30m", 5400)],
)
def test_durations(text: str, expected: float) -> None:
    assert duration(text) == timedelta(seconds=expected)


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1s ", "1w", "99999999999999d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration(text)


def test_spans_have_two_units_at_most() -> None:
    seconds = (0.0421, 1.26, 59.99, 61, 3600 * 5 + 60, 86400 * 3)
    shown = [span(timedelta(seconds=value)) for value in seconds]
    assert shown == ["42 ms", "1.3 s", "60.0 s", "1 min 1 s", "5 h 1 min", "3 d 0 h"]


def test_every_command_and_option_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide" / "cli.md").read_text("utf-8")
    known = _vocabulary(typer.main.get_command(app), "holdfast")
    missing = [words for words in known if not re.search(rf"[`\s]{re.escape(words)}\b", guide)]
    assert missing == []


def _vocabulary(command: object, name: str) -> list[str]:
    found: list[str] = []
    for child_name, child in getattr(command, "commands", {}).items():
        words = f"{name} {child_name}"
        if getattr(child, "commands", None):
            found += _vocabulary(child, words)
            continue
        found.append(words)
        for parameter in child.params:
            if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False):
                found += [option for option in parameter.opts if option.startswith("--")]
    return list(dict.fromkeys(found))
