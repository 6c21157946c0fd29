"""Exports: whole, piece by piece, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from tests.store.made import START, failed, made

from holdfast.states import RunState
from holdfast.store.database import Database
from holdfast.store.export import COLUMNS, cell, export_runs
from holdfast.store.filters import RunFilter
from holdfast.store.writer import write_runs


def test_each_form_tells_the_same_runs(database: Database) -> None:
    write_runs(database, [made(f"r{n}", started=START + timedelta(seconds=n)) for n in range(1100)])
    write_runs(database, [failed("bad", 'quote " comma , line\nend', started=START + timedelta(hours=1))])
    rows = list(csv.DictReader(io.StringIO("".join(export_runs(database, RunFilter(), "csv")), newline="")))
    lines = [json.loads(line) for line in "".join(export_runs(database, RunFilter(), "ndjson")).splitlines()]
    whole = json.loads("".join(export_runs(database, RunFilter(), "json")))
    assert (
        [row["id"] for row in rows]
        == [line["id"] for line in lines]
        == ["bad", *(f"r{n}" for n in reversed(range(1100)))]
    )
    assert whole == lines
    assert rows[0]["error_message"] == 'quote " comma , line\nend'
    assert lines[0]["started"] == "2026-03-01T13:00:00+00:00"
    assert list(rows[0]) == list(COLUMNS)


def test_nothing_is_an_empty_table_and_an_empty_list(database: Database) -> None:
    chosen = RunFilter(states=[RunState.FAILED])
    assert "".join(export_runs(database, chosen, "csv")) == ",".join(COLUMNS) + "\r\n"
    assert json.loads("".join(export_runs(database, chosen, "json"))) == []
    assert "".join(export_runs(database, chosen, "ndjson")) == ""


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\n=1", "＝1", "-2+3+cmd|' /C calc'!A0"],  # noqa: RUF001 - a spreadsheet takes it too
)
def test_a_cell_is_never_a_formula(text: str) -> None:
    assert cell(text) == f"'{text}"


def test_a_cell_holds_what_it_can() -> None:
    assert [cell(value) for value in (None, 0, -5, True, "a-b", "nul\x00", "\ud800", {"a": 1}, START)] == [
        "", "0", "-5", "true", "a-b", "nul\ufffd", "?", '{"a": 1}', "2026-03-01T12:00:00+00:00",
    ]  # fmt: skip


def test_names_that_are_formulas_are_defused_in_the_file(database: Database) -> None:
    write_runs(database, [made("=cmd|calc", workflow="@x", build_id="+1")])
    (row,) = csv.DictReader(io.StringIO("".join(export_runs(database, RunFilter(), "csv")), newline=""))
    assert (row["id"], row["workflow"], row["version"]) == ("'=cmd|calc", "'@x", "'+1")
