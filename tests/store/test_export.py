"""Exports: whole, piece by piece, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from tests.store.made import START, a_step, failed, made

from holdfast.states import RunState
from holdfast.store import export as export_module
from holdfast.store.database import Database
from holdfast.store.export import RUN_COLUMNS, STEP_COLUMNS, cell, export
from holdfast.store.filters import RunFilter
from holdfast.store.writer import write_runs


def test_each_form_tells_the_same_runs(database: Database) -> None:
    write_runs(database, [made(f"r{n}", started=START + timedelta(seconds=n)) for n in range(1100)])
    write_runs(database, [failed("bad", 'quote " comma , line\nend', started=START + timedelta(hours=1))])
    rows = list(csv.DictReader(io.StringIO("".join(export(database, RunFilter(), "csv")), newline="")))
    lines = [json.loads(line) for line in "".join(export(database, RunFilter(), "ndjson")).splitlines()]
    whole = json.loads("".join(export(database, RunFilter(), "json")))
    assert (
        [row["id"] for row in rows]
        == [line["id"] for line in lines]
        == ["bad", *(f"r{n}" for n in reversed(range(1100)))]
    )
    assert whole == lines
    assert rows[0]["error_message"] == 'quote " comma , line\nend'
    assert lines[0]["started"] == "2026-03-01T13:00:00+00:00"
    assert list(rows[0]) == list(RUN_COLUMNS)


def test_nothing_is_an_empty_table_and_an_empty_list(database: Database) -> None:
    chosen = RunFilter(states=[RunState.FAILED])
    assert "".join(export(database, chosen, "csv")) == ",".join(RUN_COLUMNS) + "\r\n"
    assert json.loads("".join(export(database, chosen, "json"))) == []
    assert "".join(export(database, chosen, "ndjson")) == ""


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
    (row,) = csv.DictReader(io.StringIO("".join(export(database, RunFilter(), "csv")), newline=""))
    assert (row["id"], row["workflow"], row["version"]) == ("'=cmd|calc", "'@x", "'+1")


def test_steps_are_told_with_their_runs_and_many_of_one_run_piece_by_piece(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "STEPS_AT_A_TIME", 4)
    sizes = [0, 3, 1, 9, 4, 8, 1]
    write_runs(
        database,
        [
            made(
                f"r{n}",
                started=START + timedelta(seconds=n),
                steps=[a_step("=x", ordinal=place + 1) for place in range(size)],
            )
            for n, size in enumerate(sizes)
        ],
    )
    pieces = list(export(database, RunFilter(), "ndjson", "steps"))
    assert max(piece.count("\n") for piece in pieces) == 4
    lines = [json.loads(line) for line in "".join(pieces).splitlines()]
    wanted = [(f"r{n}", place) for n, size in reversed(list(enumerate(sizes))) for place in range(size)]
    assert [(line["run_id"], line["position"]) for line in lines] == wanted
    assert lines == json.loads("".join(export(database, RunFilter(), "json", "steps")))
    rows = list(
        csv.DictReader(io.StringIO("".join(export(database, RunFilter(), "csv", "steps")), newline=""))
    )
    assert [row["name"] for row in rows] == ["'=x"] * sum(sizes)
    assert list(rows[0]) == list(STEP_COLUMNS)


def test_an_export_says_how_far_it_is(database: Database) -> None:
    write_runs(database, [made(f"r{n}") for n in range(3)])
    told: list[int] = []
    "".join(export(database, RunFilter(), "csv", "runs", show=told.append))
    assert told == [3]
