"""Finding runs: each filter against a plain loop, pages while runs come, texts that would like to be SQL."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.made import START, a_step, by_chance, failed, made, shown, still_open
from tests.store.postgres import Postgres

from holdfast import InvalidInput, NotFound
from holdfast.states import RunState
from holdfast.store.database import Database
from holdfast.store.filters import RunFilter
from holdfast.store.runs import count_runs, facet_runs, get_previews, get_run, get_steps, list_runs
from holdfast.store.writer import write_runs

HOUR = timedelta(hours=1)


def ids(database: Database, limit: int = 1000, **wanted: Any) -> list[str]:
    return [run.id for run in list_runs(database, RunFilter(**wanted), limit=limit).runs]


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"states": [RunState.FAILED]},
        {"states": [RunState.FAILED, RunState.COMPLETED], "workflows": ["fulfil", "refund"]},
        {"workflows": ["nobody's"]},
        {"open": True},
        {"open": False, "states": [RunState.COMPLETED, RunState.RUNNING]},
        {"open": True, "states": [RunState.COMPLETED]},
        {"versions": ["v1"], "queues": ["slow"]},
        {"started_from": START + 20 * HOUR, "started_to": START + 40 * HOUR},
        {"closed_from": START + 20 * HOUR, "closed_to": START + 30 * HOUR},
        {"error_type": "ValueError"},
        {"parent": "run-0"},
        {"dag": True},
        {"dag": False, "text": "RUN-1"},
    ],
)
def test_a_filter_finds_what_a_loop_finds(wanted: dict[str, Any], database: Database) -> None:
    write_runs(database, by_chance(3, 120))
    chosen = RunFilter(**wanted)
    every = list_runs(database, RunFilter(), limit=1000).runs
    expected = [run.id for run in every if _fits(run, chosen)]
    assert ids(database, **wanted) == expected
    assert count_runs(database, chosen) == len(expected)
    counted = {facet.value: facet.count for facet in facet_runs(database, chosen, "state")}
    assert counted == Counter(run.state.value for run in every if _fits(run, chosen))


def _fits(run: Any, chosen: RunFilter) -> bool:
    def between(moment: datetime | None, low: datetime | None, high: datetime | None) -> bool:
        given = low is not None or high is not None
        return not given or (
            moment is not None and (not low or low <= moment) and (not high or moment < high)
        )

    return (
        (not chosen.states or run.state in chosen.states)
        and (not chosen.workflows or run.workflow in chosen.workflows)
        and (not chosen.versions or run.version in chosen.versions)
        and (not chosen.queues or run.queue in chosen.queues)
        and chosen.dag in (None, run.dag)
        and (chosen.open is None or run.state.closed is not chosen.open)
        and between(run.started, chosen.started_from, chosen.started_to)
        and between(run.closed, chosen.closed_from, chosen.closed_to)
        and chosen.error_type in (None, run.error_type)
        and chosen.parent in (None, run.parent)
        and (not chosen.text or chosen.text.lower() in run.id.lower())
    )


def test_pages_hold_each_run_once_while_others_start(open_database: Callable[[], Database]) -> None:
    database = open_database()
    write_runs(database, [made(f"old-{n}", started=START + timedelta(seconds=n)) for n in range(100)])
    stop, other = threading.Event(), open_database()

    def keep_starting() -> None:
        number = 0
        while not stop.is_set():
            write_runs(other, [made(f"new-{number}", started=START + HOUR + timedelta(seconds=number))])
            number += 1

    thread = threading.Thread(target=keep_starting)
    thread.start()
    seen: list[str] = []
    try:
        after = None
        while True:
            page = list_runs(
                database, RunFilter(states=[RunState.COMPLETED, RunState.FAILED]), limit=7, after=after
            )
            seen += [run.id for run in page.runs]
            if (after := page.next) is None:
                break
    finally:
        stop.set()
        thread.join(60)
    old = [name for name in seen if name.startswith("old")]
    assert old == [f"old-{n}" for n in reversed(range(100))]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("after", ["", "x", "1 OR 1=1", "-1", "9" * 40, "٣"])
def test_a_place_that_is_none_is_refused(after: str, database: Database) -> None:
    with pytest.raises(InvalidInput, match="after"):
        list_runs(database, RunFilter(), after=after)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_size(limit: int, database: Database) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        list_runs(database, RunFilter(), limit=limit)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        RunFilter(started_from=datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("order-77", ["a"]), ("ORDER-77", ["a"]), ("er-7", ["a"]), ("card decl", ["a"]), ("ConnectionErr", ["b", "a"]),
        ('say "hi"', ["b"]), ("100%", ["b"]), ("a_b", ["b"]), ("axb", []), ("%", ["b"]), ('"', ["b"]), ("😀 é", ["b"]),
        ("nul\x00", ["b"]), ("' OR 1=1 --", []), ('" OR "', []), ("AND", []), ("*", []), ("(", []),
        ("search:order", []),
    ],
)  # fmt: skip
def test_a_part_of_a_text_is_found_and_nothing_else(part: str, found: list[str], database: Database) -> None:
    one = failed("a", "card declined", input=[shown("order-77")])
    two = failed("b", 'say "hi" 100% a_b 😀 é nul\x00', started=START + HOUR)
    write_runs(database, [one, two, made("c")])
    assert ids(database, text=part) == found


@pytest.mark.parametrize("part", ['"', "'\";", 'a "b"', "C:\\x", "one\ntwo", "tab\there"])
def test_a_text_is_found_within_the_json_of_an_input(part: str, database: Database) -> None:
    write_runs(database, [made("a", input=[shown(json.dumps(f"-{part}-"))]), made("b", input=[shown("7")])])
    assert ids(database, text=part) == ["a"]
    assert count_runs(database, RunFilter(text=f"+{part}")) == 0


def test_a_text_is_no_longer_found_once_it_has_changed(database: Database) -> None:
    write_runs(database, [still_open(stuck=None, search_attributes={"customer": "before"})])
    assert ids(database, text="before") == ["order-1"]
    write_runs(database, [made(search_attributes={"customer": "afterwards"})])
    assert (ids(database, text="before"), ids(database, text="afterwards")) == ([], ["order-1"])


def test_trigrams_are_used_where_postgresql_has_them() -> None:
    places = [
        place for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if (Path("/usr/share/postgresql") / place.parent.name / "extension" / "pg_trgm.control").exists()
    ]  # fmt: skip
    if not places:
        pytest.skip("no PostgreSQL with pg_trgm on this machine")
    folder = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
    folder.chmod(0o755)
    server = Postgres(folder / "data", bin_folder=places[-1])
    server.start()
    try:
        database = Database.open(server.url())
        assert database.has_search_index
        write_runs(database, [failed("a", "card declined"), made("b")])
        assert ids(database, text="CARD DEC") == ["a"]
        database.close()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


anything = st.text(max_size=20) | st.sampled_from(
    [
        "x' OR '1'='1",
        '"; DROP TABLE runs; --',
        "%",
        "_",
        "\\",
        "\x00",
        "\ud800",
        "😀",
        "n" * 10_000,
        ":name",
        "%(x)s",
        "?",
    ]
)


@given(a=anything, b=anything)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_is_anything_but_a_value(a: str, b: str, database: Database) -> None:
    names = {a or "empty", b or "empty"}
    write_runs(
        database, [made(name, workflow=name, queue=name, build_id=name, parent=name) for name in names]
    )
    for name in names:
        found = ids(database, workflows=[name], queues=[name], versions=[name], parent=name)
        assert len(found) == 1
        assert get_run(database, name).workflow == found[0] or len(name) > 90
        if len(name) >= 3 and len(name) < 100:
            assert found[0] in ids(database, text=name)
        assert ids(database, fingerprint=name, error_type=name) == []


def test_one_run_is_told_with_its_steps_and_their_failures(database: Database) -> None:
    write_runs(database, [failed("a", "no money", result=None)])
    run = get_run(database, "a")
    assert (run.state, run.error_type, run.error_message, run.error_step) == (
        RunState.FAILED, "ConnectionError", "no money", "charge",
    )  # fmt: skip
    (step,) = get_steps(database, "a")
    assert (step.name, step.attempt, [failure.attempt for failure in step.failures]) == ("charge", 3, [2, 3])
    assert get_previews(database, "a") == {"input": [], "result": None}
    assert get_steps(database, "nobody") == []
    with pytest.raises(NotFound, match="nobody"):
        get_run(database, "nobody")


def test_the_steps_of_a_continued_run_are_told_and_those_before_a_restart_are_not(database: Database) -> None:
    write_runs(
        database,
        [
            made(execution_id="e0", steps=[a_step("before")]),
            made(execution_id="e1", started=START + HOUR, steps=[a_step("one")]),
            made(execution_id="e2", first_execution_id="e1", started=START + 2 * HOUR, steps=[a_step("two")]),
        ],
    )
    assert [(step.name, step.execution_id) for step in get_steps(database, "order-1")] == [
        ("one", "e1"),
        ("two", "e2"),
    ]


def test_errors_are_grouped_whatever_numbers_they_hold(database: Database) -> None:
    write_runs(
        database,
        [failed(f"r{n}", f"timeout after {n} ms of '{n}'", started=START + n * HOUR) for n in range(5)],
    )
    write_runs(database, [failed("other", "declined"), made("fine")])
    first, second = facet_runs(database, RunFilter(), "fingerprint")
    assert (first.count, first.latest.id, second.count) == (5, "r4", 1)
    assert ids(database, fingerprint=first.value) == ["r4", "r3", "r2", "r1", "r0"]
