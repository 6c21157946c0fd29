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


@settings(deadline=None, max_examples=300)
@over(st.data(), st.lists(st.sampled_from("abc"), min_size=1, max_size=6), st.booleans())
def test_however_often_a_run_goes_on_nothing_completed_is_done_again(
    data: st.DataObject, wanted: list[str], child: bool
) -> None:
    """Retried and forked, with steps or with child runs, which a failure undoes or not."""
    effects = Counter[str]()  # those of the run and of the runs that it was forked from
    keys, unusable = dict[tuple[int, str, str], str](), set[tuple[int, str, str]]()
    memo: dict[str, object] = {}
    run = 0
    for mark in ("", "aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"):
        kind = data.draw(st.sampled_from(["retry", "fork"])) if mark else "retry"
        run += kind == "fork"
        again = Given(kind=kind, mark=mark, entries=[Entry.of_json(one) for one in memo.get("entries", [])])  # type: ignore[arg-type,attr-defined]
        memo = {GIVEN_MEMO: again.to_json()}
        done, given = Done(run_id="r"), Given.of_json(again.to_json())
        done.start_with(memo)
        order = data.draw(st.permutations(wanted))
        for number, arguments in enumerate(order[: data.draw(st.integers(0, len(order)))], 1):
            key, ran_as = (f":pay:{number}", "") if child else (f"pay-{number}", f"pay-{number}")
            _, found = given.take(_entry(key, arguments, ran_as, child))
            if found.result is not None:
                assert found.result == payload(arguments)
                continue
            if kind == "retry" and found.fresh:
                ran_as = mark if child else f"{key}@{mark}"
            elif kind == "retry" and found.entry is not None and not (child and found.entry.foreign):
                ran_as = found.entry.ran_as
            used = (run, key if child else "", ran_as)
            # One key never stands for two payments, nor for one that was undone.
            assert used not in unusable
            assert keys.setdefault(used, arguments) == arguments
            made = done.begin(_entry(key if child else plain_id(ran_as), arguments, ran_as, child))
            if data.draw(st.booleans()):
                done.complete(made, payload(arguments))
                effects[arguments] += 1
                unusable.add(used)
        assert effects <= Counter(wanted)
        if data.draw(st.booleans()):  # it fails: what this run has done is undone, come to again or not
            for one in list(done.entries.values()):
                if one.result is not None and not one.foreign:
                    assert done.undone_by(_undo(one)) is one
                    effects[one.digest or ""] -= 1
                    one.result, one.undone = None, True
        memo = {"entries": [one.to_json() for one in done.entries.values()]}


def _entry(key: str, arguments: str, ran_as: str, child: bool) -> Entry:
    return Entry(key=key, name="pay", digest=arguments, ran_as=ran_as, child=child)


def _undo(made: Entry) -> str:
    if not made.child:
        return f"compensate:{made.ran_as}"
    return f"{made.key}:undo@{made.ran_as}" if made.ran_as else f"{made.key}:undo"


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
