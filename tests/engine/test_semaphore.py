"""Who gets a place under a limit: told the time, without a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.semaphore import LEASE_SECONDS, Answer, Places, Turn


def said(
    asking: Sequence[str] = (),
    *,
    holding: dict[str, float] | None = None,
    ended: dict[str, float] | None = None,
    concurrency: int | None = 2,
    count: int | None = None,
) -> Turn:
    return Turn(
        concurrency=concurrency,
        count=count,
        period=1.0,
        asking=list(asking),
        holding=holding or {},
        ended=ended or {},
    )


def test_so_many_get_a_place_and_the_others_are_told_when_to_ask() -> None:
    answer = Places().take(said("abcd"), 0)
    assert answer.granted == ["a", "b"]
    assert list(answer.delays) == ["c", "d"]
    assert all(delay > 0 for delay in answer.delays.values())


def test_asking_again_changes_nothing() -> None:
    places = Places()
    assert places.take(said("a"), 0).granted == places.take(said("a"), 1).granted == ["a"]
    assert list(places.held) == ["a"]


def test_a_place_that_is_given_back_goes_to_the_first_in_the_line() -> None:
    places = Places()
    places.take(said("abcd"), 0)
    answer = places.take(said(["d", "c"], ended={"a": 0.1}), 0.2)
    assert answer.granted == ["c"]


def test_nobody_overtakes_one_who_is_about_to_ask() -> None:
    places = Places()
    places.take(said("abc"), 0)
    assert places.take(said(["new"], ended={"a": 0.1}), 0.1).granted == []
    assert places.take(said("c"), 0.2).granted == ["c"]


def test_a_place_does_not_stay_empty_for_one_who_is_away() -> None:
    places = Places()
    places.take(said("abc"), 0)
    places.waiting["c"] = 20.0
    assert places.take(said(["new"], ended={"a": 0.1}), 0.1).granted == ["new"]


def test_a_holder_that_is_not_heard_of_loses_its_place() -> None:
    places = Places()
    places.take(said("ab"), 0)
    places.take(said(holding={"a": 3.0}), 3)
    assert places.take(said("c"), LEASE_SECONDS + 0.1).granted == ["c"]
    assert sorted(places.held) == ["a", "c"]


def test_a_place_of_the_rate_comes_back_a_period_after_the_end_of_a_short_call() -> None:
    places = Places()
    assert places.take(said("a", concurrency=None, count=1), 0).granted == ["a"]
    assert places.take(said("b", ended={"a": 0.4}, concurrency=None, count=1), 0.4).granted == []
    assert places.take(said("b", concurrency=None, count=1), 1.3).granted == []
    assert places.take(said("b", concurrency=None, count=1), 1.5).granted == ["b"]


def test_and_not_after_the_end_of_a_long_one() -> None:
    places = Places()
    places.take(said("a", concurrency=None, count=1), 0)
    places.take(said(holding={"a": 1.5}, concurrency=None, count=1), 1.5)
    assert places.take(said("b", concurrency=None, count=1), 2.1).granted == ["b"]


def test_a_place_of_the_rate_whose_holder_died_comes_back_too() -> None:
    places = Places()
    places.take(said("a", concurrency=None, count=1), 0)
    assert places.take(said("b", concurrency=None, count=1), LEASE_SECONDS + 0.5).granted == []
    assert places.take(said("b", concurrency=None, count=1), LEASE_SECONDS + 2).granted == ["b"]


def test_each_caller_goes_by_its_own_rate_counted_over_all() -> None:
    places = Places()
    assert places.take(said("ab", concurrency=None, count=2), 0).granted == ["a", "b"]
    assert places.take(said("c", concurrency=None, count=3), 0.1).granted == ["c"]
    done = dict.fromkeys("abc", 0.1)
    assert places.take(said("d", concurrency=None, count=2, ended=done), 0.2).granted == []
    assert places.take(said("de", concurrency=None, count=4), 0.3).granted == ["d"]


def test_a_call_counts_for_the_longer_time_of_another_rate() -> None:
    places = Places()
    minute = Turn(concurrency=None, count=2, period=60.0, asking=["x"])
    assert places.take(minute, 0).granted == ["x"]
    assert places.take(said("a", concurrency=None, count=5), 0.1).granted == ["a"]
    places.take(said(ended={"a": 0.1, "x": 0.1}, concurrency=None, count=5), 0.2)
    again = Turn(concurrency=None, count=2, period=60.0, asking=["y"])
    assert places.take(again, 30).granted == []
    assert places.take(said("b", concurrency=None, count=1), 30).granted == ["b"]
    assert places.take(again, 60.5).granted == ["y"]


def test_a_call_without_a_rate_counts_for_those_that_have_one() -> None:
    places = Places()
    places.take(said("a", concurrency=9, count=2), 0)
    assert places.take(said("b", concurrency=9), 0.1).granted == ["b"]
    assert places.take(said("c", concurrency=9, count=2), 0.2).granted == []


def test_no_more_calls_are_known_than_any_rate_allows() -> None:
    places = Places()
    for number in range(1100):
        name = str(number)
        places.take(said([name], concurrency=None, count=1000), number / 1000)
        places.take(said(ended={name: 0.0}, concurrency=None, count=None), number / 1000)
    places.take(Turn(concurrency=None, count=1, period=3600.0), 2)
    assert len(places.tokens) <= 1000


def test_it_goes_on_from_what_is_written_down() -> None:
    places = Places()
    places.take(said("abc", count=5), 0)
    again = Places(**asdict(places))
    assert again.take(said("c", ended={"a": 0.1}, count=5), 0.5) == places.take(
        said("c", ended={"a": 0.1}, count=5), 0.5
    )


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("abcdefgh"), unique=True),
            st.lists(st.sampled_from("abcdefgh"), unique=True),
            st.floats(0, 3),
        ),
        max_size=40,
    ),
    st.integers(1, 4),
)
def test_never_more_than_the_limit(turns: list[tuple[list[str], list[str], float]], limit: int) -> None:
    places, now = Places(), 0.0
    holding: set[str] = set()
    for asking, ended, seconds in turns:
        now += seconds
        holding -= set(ended)
        turn = said(
            asking,
            holding=dict.fromkeys(holding - set(asking), 0.1),
            ended=dict.fromkeys(ended, 0.1),
            concurrency=limit,
        )
        answer: Answer = places.take(turn, now)
        assert set(answer.granted) | set(answer.delays) == set(asking)
        holding |= set(answer.granted)
        assert len(holding) <= limit
