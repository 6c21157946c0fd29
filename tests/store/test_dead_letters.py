"""Dead letters come and go with their runs, and decisions on them stay."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.store.made import START, a_step, failed, made, still_open

from holdfast.client.description import ErrorInfo
from holdfast.errors import InvalidInput, NotFound
from holdfast.states import RunState, StepState
from holdfast.store.database import Database
from holdfast.store.dead_letters import (
    DeadLetter,
    LetterFilter,
    add,
    claim_letter,
    count_letters,
    decide_letter,
    get_letter,
    group_letters,
    list_letters,
)
from holdfast.store.writer import write_runs

LATER = START + timedelta(hours=1)


def only(database: Database) -> DeadLetter:
    [letter] = list_letters(database, LetterFilter())
    return letter


def test_a_failed_run_is_one_and_a_second_telling_is_nothing(database: Database) -> None:
    write_runs(database, [failed("a", "no 7"), made("b"), still_open("c")])
    write_runs(database, [failed("a", "no 7", observed=LATER)])
    letter = only(database)
    assert (letter.kind, letter.status, letter.run_id, letter.workflow) == ("run", "pending", "a", "fulfil")
    assert letter.error_type == "ConnectionError"
    assert letter.error_message == "no 7"
    assert letter.payload is not None
    assert letter.payload["step"] == "charge"
    assert letter.to_dict()["status"] == "pending"


@pytest.mark.parametrize("state", [RunState.CANCELLED, RunState.TERMINATED, RunState.COMPLETED])
def test_what_was_ended_on_purpose_is_none(database: Database, state: RunState) -> None:
    write_runs(database, [made("a", state=state)])
    assert count_letters(database, LetterFilter()) == 0


def test_a_terminated_run_with_open_compensations_is_one(database: Database) -> None:
    write_runs(database, [made("a", state=RunState.TERMINATED, pending_compensations=["charge-1"])])
    payload = only(database).payload
    assert payload is not None
    assert payload["open_compensations"] == ["charge-1"]


def test_the_failure_of_a_child_is_that_of_its_parent(database: Database) -> None:
    write_runs(database, [failed("child", "no", parent="a"), failed("a", "no")])
    assert only(database).run_id == "a"


def test_a_failed_compensation_is_one_besides_the_run(database: Database) -> None:
    error = ErrorInfo(type="BankDown", message="try on Monday")
    undo = a_step(
        "charge.compensate", state=StepState.FAILED, error=error, compensates="charge-1", result=None
    )
    write_runs(database, [failed("a", "no", steps=[a_step(), undo])])
    kinds = {letter.kind: letter for letter in list_letters(database, LetterFilter())}
    assert set(kinds) == {"run", "compensation"}
    assert kinds["compensation"].error_type == "BankDown"
    assert (kinds["compensation"].payload or {})["compensates"] == "charge-1"


def test_it_follows_a_run_that_is_retried(database: Database) -> None:
    first = failed("a", "no", execution_id="a/1")
    write_runs(database, [first])
    again = still_open(
        "a", execution_id="a/2", state=RunState.RUNNING, waits=[], started=LATER, observed=LATER
    )
    write_runs(database, [again])
    assert only(database).status == "retrying"
    write_runs(database, [failed("a", "once more", execution_id="a/2", started=LATER)])
    assert (only(database).status, only(database).error_message) == ("pending", "once more")
    write_runs(database, [made("a", execution_id="a/3", started=LATER + timedelta(hours=1))])
    assert only(database).status == "resolved"
    # As a rebuild does: all is told once more, and the oldest first.
    write_runs(database, [failed("a", "no", execution_id="a/1", observed=LATER + timedelta(days=1))])
    assert only(database).status == "resolved"


def test_decisions_outlast_a_second_telling(database: Database) -> None:
    write_runs(database, [failed("a", "no")])
    decide_letter(database, only(database).id, "abandoned", "the customer has left")
    write_runs(database, [failed("a", "no", observed=LATER)])
    assert (only(database).status, only(database).reason) == ("abandoned", "the customer has left")
    with pytest.raises(InvalidInput, match="abandoned"):
        decide_letter(database, only(database).id, "abandoned", "again")


def test_a_run_that_does_it_anew_settles_it(database: Database) -> None:
    write_runs(database, [failed("a", "no")])
    letter = claim_letter(database, only(database).id, redriven_as="a-2", expected="pending")
    assert (letter.status, letter.attempts, letter.redriven_as) == ("retrying", 1, "a-2")
    write_runs(database, [failed("a-2", "not again", started=LATER)])
    # Why it is dead stays the first error.
    assert (only(database).status, only(database).error_message) == ("pending", "no")
    assert only(database).reason == "run a-2 did it anew and failed: ConnectionError: not again"
    claim_letter(database, letter.id, redriven_as="a-3", expected="pending")
    write_runs(database, [made("a-3", started=LATER + timedelta(hours=1))])
    assert (only(database).status, only(database).attempts) == ("resolved", 2)


@pytest.mark.parametrize("fork_is_told_first", [True, False])
def test_the_run_itself_settles_it_also_when_another_one_did_it_anew(
    database: Database, fork_is_told_first: bool
) -> None:
    write_runs(database, [failed("a", "no", execution_id="a/1")])
    claim_letter(database, only(database).id, redriven_as="a-2", expected="pending")
    fork = failed("a-2", "not again", started=LATER + timedelta(minutes=1))
    itself = made("a", execution_id="a/2", started=LATER)  # it completes before the other one fails
    for told in (fork, itself) if fork_is_told_first else (itself, fork):
        write_runs(database, [told])
    assert (only(database).status, only(database).reason) == ("resolved", "run a completed")


def test_what_does_it_anew_is_not_forgotten_when_the_run_itself_fails_again(database: Database) -> None:
    write_runs(database, [failed("a", "no", execution_id="a/1")])
    claim_letter(database, only(database).id, redriven_as="a-2", expected="pending")
    write_runs(database, [failed("a", "once more", execution_id="a/2", started=LATER)])
    assert (only(database).status, only(database).redriven_as) == ("pending", "a-2")
    write_runs(database, [made("a-2", started=LATER)])
    assert only(database).status == "resolved"


def test_of_two_that_claim_one_gets_it(database: Database) -> None:
    write_runs(database, [failed("a", "no")])
    letter = only(database)
    claim_letter(database, letter.id, redriven_as=None, expected="pending")
    with pytest.raises(InvalidInput, match="faster"):
        claim_letter(database, letter.id, redriven_as=None, expected="pending")


def test_groups_are_by_error(database: Database) -> None:
    write_runs(database, [failed(f"a{n}", f"no {n}") for n in range(3)] + [failed("b", "x", kind="KeyError")])
    groups = group_letters(database, LetterFilter(status="pending"))
    assert [(group.error_type, group.count) for group in groups] == [("ConnectionError", 3), ("KeyError", 1)]
    one = LetterFilter(fingerprint=groups[0].fingerprint)
    assert count_letters(database, one) == 3
    newest = list_letters(database, one, limit=2)
    rest = list_letters(database, one, limit=2, before=newest[-1].id)
    assert [letter.run_id for letter in [*newest, *rest]] == ["a2", "a1", "a0"]


@pytest.mark.parametrize(
    "name", ["x' OR '1'='1", 'a "b" \\', "nul\x00nul", "😀\ud800", '=HYPERLINK("x")', "x" * 10_000]
)
def test_any_name_is_only_a_name(database: Database, name: str) -> None:
    write_runs(database, [failed("a", name, kind=name, workflow=name), failed("b", "other")])
    [letter] = list_letters(database, LetterFilter(workflow=name))
    assert letter.run_id == "a"
    assert list_letters(database, LetterFilter(fingerprint=name)) == []


def test_a_trigger_is_added_by_its_identity(database: Database) -> None:
    given = {"kind": "trigger", "identity": "trigger/nightly/7", "error_type": "X", "workflow": "fulfil"}
    first = add(database, error_message="one", failed=START, **given)  # type: ignore[arg-type]
    assert add(database, error_message="one", failed=START, **given) == first  # type: ignore[arg-type]
    decide_letter(database, first, "resolved", "delivered")
    assert add(database, error_message="two", failed=LATER, **given) == first  # type: ignore[arg-type]
    assert (get_letter(database, first).status, get_letter(database, first).error_message) == (
        "pending",
        "two",
    )
    assert [letter.id for letter in list_letters(database, LetterFilter(), before=2**70)] == [first]
    for missing in (0, -1, first + 1, 2**70):
        with pytest.raises(NotFound):
            get_letter(database, missing)
