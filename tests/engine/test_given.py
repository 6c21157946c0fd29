"""What calls get of an earlier execution: each result once, only for equal arguments, and keys that never lie."""

from __future__ import annotations

from collections import Counter

from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from holdfast.engine.given import GIVEN_MEMO, Entry, Given, digest, plain_id, positions, ranges, relative
from holdfast.engine.history.done import Done


def payload(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=text.encode())


def entry(key: str, arguments: str, result: str | None = None, *, undone: bool = False) -> Entry:
    return Entry(
        key=key,
        name=key.rpartition("-")[0],
        digest=arguments,
        ran_as=key,
        result=payload(result) if result is not None else None,
        undone=undone,
    )


def earlier(*entries: Entry) -> Given:
    return Given(kind="retry", mark="abcd1234", entries=list(entries))


def test_a_call_gets_the_result_of_its_number() -> None:
    found = earlier(entry("pay-1", "x", "one"), entry("pay-2", "x", "two")).take(entry("pay-2", "x"))[1]
    assert found.result == payload("two")


def test_another_order_of_calls_is_no_other_work() -> None:
    given = earlier(entry("pay-1", "x", "one"), entry("pay-2", "y", "two"))
    assert given.take(entry("pay-1", "y"))[1].result == payload("two")
    assert given.take(entry("pay-2", "x"))[1].result == payload("one")


def test_another_order_keeps_the_key_of_an_unknown_outcome() -> None:
    given = earlier(entry("pay-1", "x", "one"), entry("pay-2", "y"))
    _, found = given.take(entry("pay-1", "y"))
    assert found.entry is not None
    assert (found.entry.ran_as, found.result, found.fresh) == ("pay-2", None, False)
    _, other = given.take(entry("pay-2", "z"))
    assert other.fresh  # `pay-2` stands for other arguments


def test_other_arguments_are_told_and_get_a_key_of_their_own() -> None:
    _, found = earlier(entry("pay-1", "x", "one")).take(entry("pay-1", "y"))
    assert (found.result, found.changed, found.fresh) == (None, True, True)


def test_what_was_undone_runs_under_another_key() -> None:
    _, found = earlier(entry("pay-1", "x", undone=True)).take(entry("pay-1", "x"))
    assert (found.result, found.changed, found.fresh) == (None, False, True)


def test_a_call_that_nobody_made_before_has_its_own_key() -> None:
    _, found = earlier(entry("pay-1", "x", "one")).take(entry("pay-2", "y"))
    assert (found.entry, found.changed, found.fresh) == (None, False, False)


def test_the_items_of_a_map_may_move() -> None:
    given = Given(
        kind="fork",
        mark="abcd1234",
        entries=[
            Entry(key=f"enrich[{n}]", name="item", digest=f"{n}", result=payload(f"{n}")) for n in range(3)
        ],
    )
    asked = Entry(key="enrich[0]", name="item", digest="2")
    assert given.take(asked)[1].result == payload("2")


_NUMBERS = st.integers(1, 6)
_ARGUMENTS = st.sampled_from("abc")
_ENTRIES = st.dictionaries(
    _NUMBERS, st.tuples(_ARGUMENTS, st.sampled_from(["done", "open", "undone"])), max_size=6
)
_CALLS = st.lists(st.tuples(_NUMBERS, _ARGUMENTS), unique_by=lambda call: call[0], max_size=8)


@settings(deadline=None)
@over(_ENTRIES, _CALLS, st.integers(0, 8))
def test_whatever_is_called(
    before: dict[int, tuple[str, str]], calls: list[tuple[int, str]], cut: int
) -> None:
    """In any order, with any arguments, and where the run continues as new after any number of calls."""
    given = earlier(
        *(
            entry(f"pay-{n}", arguments, f"{n}" if state == "done" else None, undone=state == "undone")
            for n, (arguments, state) in before.items()
        )
    )
    ran_before = {f"pay-{n}": arguments for n, (arguments, state) in before.items() if state != "undone"}
    used: set[str] = set()
    given_away: list[bytes] = []
    for count, (number, arguments) in enumerate(calls):
        if count == cut:
            given = Given.of_json(given.to_json())
        key = f"pay-{number}"
        _, found = given.take(entry(key, arguments))
        if found.result is not None:
            assert before[int(found.result.data)] == (arguments, "done")
            given_away.append(found.result.data)
            continue
        ran_as = f"{key}@abcd1234" if found.fresh else found.entry.ran_as if found.entry else key
        assert ran_as not in used
        used.add(ran_as)
        # A key of an earlier execution is used only for the same arguments, and never once it was undone.
        if ran_as.removeprefix("pay-").isdecimal() and int(ran_as.removeprefix("pay-")) in before:
            assert ran_before.get(ran_as) == arguments
            assert before[int(ran_as.removeprefix("pay-"))][1] == "open"
    assert len(given_away) == len(set(given_away))


@settings(deadline=None)
@over(st.sets(st.integers(0, 50)))
def test_positions_come_back(some: set[int]) -> None:
    assert set(positions(ranges(some))) == some


def test_ids() -> None:
    assert plain_id("pay-2@0123abcd") == "pay-2"
    assert plain_id("pay@home-2") == "pay@home-2"
    assert relative("order-1:pack:1", "order-1") == ":pack:1"
    assert relative("order-12", "order-1") == "order-12"
    assert digest([payload("a"), payload("b")]) != digest([payload("ab")])


@settings(deadline=None, max_examples=1000)
@over(st.data(), st.lists(st.sampled_from("abc"), min_size=1, max_size=6))
def test_however_often_a_run_is_retried_nothing_completed_is_done_again(
    data: st.DataObject, wanted: list[str]
) -> None:
    completed, keys = Counter[str](), dict[str, str]()
    memo: dict[str, object] = {}
    for mark in ("", "aaaaaaaa", "bbbbbbbb", "cccccccc"):
        done = Done(run_id="r")
        done.start_with(memo)
        given = Given.of_json(memo[GIVEN_MEMO]) if memo else None  # type: ignore[arg-type]
        order = data.draw(st.permutations(wanted))
        for number, arguments in enumerate(order[: data.draw(st.integers(0, len(order)))], 1):
            key = call_id = f"pay-{number}"
            if given is not None:
                _, found = given.take(entry(key, arguments))
                if found.result is not None:
                    assert found.result == payload(arguments)
                    continue
                call_id = f"{key}@{mark}" if found.fresh else found.entry.ran_as if found.entry else key
            assert keys.setdefault(call_id, arguments) == arguments  # one key never stands for two payments
            made = entry(plain_id(call_id), arguments)
            made.ran_as = call_id
            done.begin(made)
            if data.draw(st.booleans()):
                made.result = payload(arguments)
                completed[arguments] += 1
        assert completed <= Counter(wanted)
        again = Given(kind="retry", mark=mark, entries=list(done.entries.values()))
        memo = {GIVEN_MEMO: again.to_json()}


def test_a_call_that_gets_its_number_back_is_known_once() -> None:
    done = Done(run_id="r")
    done.begin(entry("pay-1", "a"))
    other = entry("pay-1", "b", "b")
    other.ran_as = "pay-1@aaaaaaaa"
    done.begin(other)
    done.begin(entry("pay-1", "a", "a"))
    assert [(kept.ran_as, kept.result) for kept in done.entries.values()] == [
        ("pay-1", payload("a")),
        ("pay-1@aaaaaaaa", payload("b")),
    ]
