"""What `@step` accepts, what it refuses and how it says so."""

from __future__ import annotations

from datetime import timedelta
from inspect import signature
from typing import Any, get_overloads

import pytest

from holdfast import (
    Depends,
    InvalidConfiguration,
    InvalidInput,
    InvalidStep,
    NotInWorkflow,
    RetryPolicy,
    step,
    step_info,
)
from holdfast.authoring.registry import fresh_registry
from holdfast.engine.parts import Parts
from holdfast.testing import override


class Connection:
    """Nothing that can travel."""


@pytest.fixture(autouse=True)
def _own_registry() -> Any:
    with fresh_registry() as registry:
        yield registry


async def test_a_step_is_the_plain_function_outside_of_a_workflow() -> None:
    @step
    async def double(number: int) -> int:
        return number * 2

    @step
    def triple(number: int, *, plus: int = 0) -> int:
        return number * 3 + plus

    assert await double(2) == 4
    assert await triple(2, plus=1) == 7
    assert triple.fn(2) == 6
    assert (double.name, double.__name__, repr(double)) == ("double", "double", "<step double>")


async def test_the_docstring_and_the_parameters_stay() -> None:
    @step(timeout=timedelta(seconds=3))
    async def documented(number: int) -> int:
        """Says what it does."""
        return number

    assert documented.__doc__ == "Says what it does."
    assert documented.signature.names == ["number"]
    assert documented.options.timeout == timedelta(seconds=3)


async def test_options_have_the_promised_defaults() -> None:
    @step
    async def plain() -> None: ...

    options = plain.options
    assert options.attempt_timeout == timedelta(minutes=5)
    assert options.heartbeat_timeout == timedelta(seconds=6)
    assert options.retry == RetryPolicy(
        max_attempts=3, first_delay=timedelta(seconds=1), backoff=2.0, max_delay=timedelta(seconds=60)
    )
    assert options.retry.jitter > 0
    assert plain.with_options(local=True).options.attempt_timeout == timedelta(seconds=10)


async def test_with_options_changes_a_copy() -> None:
    @step(summary="before")
    async def plain(number: int) -> int:
        return number

    other = plain.with_options(summary="after", retry="patient", priority=1)
    assert (other.options.summary, plain.options.summary) == ("after", "before")
    assert other.options.retry.max_attempts == 10
    assert await other(3) == 3


async def test_methods_are_steps_of_their_instance() -> None:
    class Shop:
        def __init__(self, prefix: str) -> None:
            self.prefix = prefix

        @step
        async def sell(self, what: str) -> str:
            return f"{self.prefix} {what}"

    assert Shop.sell.name == "Shop.sell"
    assert await Shop("one").sell("bread") == "one bread"


@pytest.mark.parametrize(
    "changes",
    [
        {"timeout": timedelta(0)},
        {"timeout": 30},
        {"heartbeat": timedelta(seconds=-1)},
        {"heartbeat": 6.0},
        {"retry": "often"},
        {"retry": 3},
        {"retry": None},
        {"priority": 9},
        {"local": True, "queue": "q"},
        {"local": True, "deferred": True},
        {"deferred": True, "process": True},
        {"tiemout": timedelta(seconds=1)},
    ],
)
def test_an_option_that_cannot_work_is_named(changes: dict[str, Any]) -> None:
    declare: Any = step
    with pytest.raises(InvalidConfiguration, match=next(iter(changes))):

        @declare(**changes)
        def some_step() -> None: ...


@pytest.mark.parametrize(
    "changes",
    [
        {"max_attempts": -1},
        {"first_delay": timedelta(0)},
        {"backoff": 0.5},
        {"max_delay": timedelta(milliseconds=1)},
        {"jitter": 2},
        {"first_delay": 5},
    ],
)
def test_a_retry_policy_that_cannot_work_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfiguration, match=next(iter(changes))):
        RetryPolicy(**changes)


def test_an_option_that_does_not_exist_is_answered_with_all_that_do() -> None:
    declare: Any = step
    with pytest.raises(
        InvalidConfiguration, match=r"no option 'nmae'; known: aliases, .*\bname, "
    ) as refused:

        @declare(nmae="x")
        def some_step() -> None: ...

    declared = set(signature(get_overloads(step)[-1]).parameters)
    assert set(refused.value.message.split("known: ")[1].split(", ")) == declared


def test_what_cannot_be_a_step_is_refused_at_import() -> None:
    declare: Any = step

    def no_result(number: int):  # type: ignore[no-untyped-def]
        return number

    def no_type(number) -> int:  # type: ignore[no-untyped-def]
        return int(number)

    def generator() -> Any:
        yield 1

    async def async_generator() -> Any:
        yield 1

    def many(*numbers: int) -> int:
        return sum(numbers)

    def keywords(**numbers: int) -> int:
        return sum(numbers.values())

    for wrong, message in [
        (no_result, r"no_result .*test_step\.py:\d+\) has no return type: write"),
        (no_type, r"no_type .*test_step\.py:\d+\): parameter 'number' has no type: write `number: SomeType`"),
        (generator, r"generator .*test_step\.py:\d+\) is a generator: return a list"),
        (async_generator, r"async_generator .*is a generator: return a list"),
        (many, r"many .*test_step\.py:\d+\): \*numbers cannot be sent: name each parameter"),
        (keywords, r"keywords .*cannot be sent"),
        (lambda: 1, r"needs a name: write .*test_step\.py:\d+\) with def"),
        (int, "decorates functions, not"),
        (len, "decorates functions, not"),
        (None.__class__, "decorates functions, not"),
        (staticmethod(no_type), "decorates functions, not"),
    ]:
        with pytest.raises(InvalidStep, match=message):
            declare(wrong)


def test_options_that_need_another_function_are_refused_at_import() -> None:
    declare: Any = step

    def open_pool() -> int:
        return 1

    with pytest.raises(InvalidStep, match="process=True is for sync functions"):

        @declare(process=True)
        async def computing() -> None: ...

    with pytest.raises(InvalidStep, match="process=True"):

        @declare(process=True)
        def with_pool(number: int, pool: int = Depends(open_pool)) -> int:
            return number

    with pytest.raises(InvalidStep, match="process=True"):

        class Shop:
            @declare(process=True)
            def method(self, number: int) -> int:
                return number


def test_types_that_cannot_travel_are_refused_at_first_use() -> None:
    @step
    async def fetch(connection: Connection) -> int:
        return 1

    with pytest.raises(InvalidStep, match=r"fetch .*test_step\.py:\d+\): parameter 'connection' .*Depends"):
        Parts([])


def test_a_result_that_cannot_travel_is_refused_at_first_use() -> None:
    @step
    async def dial() -> Connection:
        return Connection()

    with pytest.raises(InvalidStep, match=r"dial .*the result of type .*cannot travel as JSON"):
        Parts([])


def test_a_type_that_does_not_exist_is_refused_at_first_use() -> None:
    @step
    async def lost(number: Nowhere) -> int:  # type: ignore[name-defined]  # noqa: F821
        return 1

    with pytest.raises(InvalidStep, match=r"lost .*test_step\.py:\d+\): a type cannot be resolved.*Nowhere"):
        Parts([])


def test_two_steps_of_one_name_are_refused_at_first_use() -> None:
    def one() -> None:
        @step
        async def same() -> None: ...

    def other() -> None:
        @step(name="same")
        async def another() -> None: ...

    one()
    one()
    Parts([])  # the same function again: a reload
    other()
    with pytest.raises(
        InvalidStep, match=r"'same' is the name of .*one.*test_step\.py:\d+.* and .*other.*name="
    ):
        Parts([])


def test_an_alias_that_another_step_has_as_name_is_refused() -> None:
    @step
    async def old() -> None: ...

    @step(aliases=["old"])
    async def new() -> None: ...

    with pytest.raises(InvalidStep, match=r"'old' is the name of"):
        Parts([])


def test_a_compensation_takes_the_parameters_and_the_result() -> None:
    @step
    async def charge(order: int, card: str) -> str:
        return "x"

    compensate: Any = charge.compensate
    with pytest.raises(
        InvalidStep, match=r"takes \(order\); a compensation of 'charge' takes \(order, card, result\)"
    ):

        @compensate
        async def refund(order: int) -> None: ...

    with pytest.raises(InvalidStep, match="no type"):

        @compensate
        async def refund_untyped(order, card, result) -> None: ...  # type: ignore[no-untyped-def]


def test_a_local_step_with_compensation_must_be_idempotent() -> None:
    @step(local=True)
    async def quick(order: int) -> str:
        return "x"

    with pytest.raises(InvalidStep, match="idempotent=True"):

        @quick.compensate
        async def undo(order: int, result: str) -> None: ...

    @step
    async def slow(order: int) -> str:
        return "x"

    @slow.compensate
    async def undo_slow(order: int, result: str) -> None: ...

    with pytest.raises(InvalidStep, match="idempotent=True"):
        slow.with_options(local=True)


async def test_a_compensation_stays_an_ordinary_function() -> None:
    @step
    async def charge(order: int) -> str:
        return "x"

    @charge.compensate
    async def refund(order: int, result: str | None) -> None:
        assert result is None

    await refund(1, None)


def test_step_info_belongs_into_a_step() -> None:
    with pytest.raises(NotInWorkflow, match="step_info"):
        step_info()


async def test_a_dependency_outside_of_a_worker_is_given_or_overridden() -> None:
    def open_pool() -> str:
        raise AssertionError("nobody opens it")

    @step
    async def save(row: int, pool: str = Depends(open_pool)) -> str:
        return f"{row} in {pool}"

    with pytest.raises(
        NotInWorkflow, match=r"'pool' = Depends\(.*open_pool\).*override\(\{open_pool: value\}\)"
    ):
        await save(1)
    assert await save(1, pool="mine") == "1 in mine"
    assert await save(1, "mine") == "1 in mine"
    with override({open_pool: "theirs"}):
        assert await save(1) == "1 in theirs"
    with pytest.raises(NotInWorkflow):
        await save(1)


def test_a_provider_is_a_function_without_parameters() -> None:
    wrong: Any = Depends
    with pytest.raises(InvalidStep, match="without calling it"):
        wrong("pool")
    with pytest.raises(InvalidStep, match="takes no parameters"):
        wrong(lambda settings: 1)


def test_arguments_are_bound_like_python_binds_them() -> None:
    @step
    async def some(a: int, b: int = 2, *, c: int = 3) -> int:
        return a + b + c

    bind = some.signature.bind
    assert bind([1], {}) == [1, 2, 3]
    assert bind([1, 5], {"c": 6}) == [1, 5, 6]
    assert bind([], {"a": 7, "c": 8}) == [7, 2, 8]
    for args, kwargs, message in [
        ([], {}, "misses the argument 'a'"),
        ([1, 2, 3], {}, "got 3 arguments"),
        ([1], {"a": 2}, "got 'a' twice"),
        ([1], {"d": 2}, "no parameter 'd'"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            bind(args, kwargs)
