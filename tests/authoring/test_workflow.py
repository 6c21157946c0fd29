"""What `@workflow` accepts, what it refuses and how it says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from holdfast import (
    Client,
    Depends,
    InvalidConfiguration,
    InvalidWorkflow,
    NotInWorkflow,
    Worker,
    step,
    workflow,
)
from holdfast.engine.parts import Parts
from holdfast.testing import fresh_registry


class Connection:
    """Nothing that can travel."""


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    with fresh_registry():
        yield


async def test_a_workflow_is_called_by_a_client_or_a_workflow_only() -> None:
    @workflow
    async def hello(name: str) -> str:
        """Greets."""
        return f"hello {name}"

    with pytest.raises(NotInWorkflow, match=r"client\.run\(hello, \.\.\.\).*hello\.fn"):
        await hello("you")
    assert await hello.fn("you") == "hello you"
    assert (hello.name, hello.__doc__, repr(hello)) == ("hello", "Greets.", "<workflow hello>")


def test_what_cannot_be_a_workflow_is_refused_at_import() -> None:
    declare: Any = workflow

    def sync() -> int:
        return 1

    async def no_result():  # type: ignore[no-untyped-def]
        return 1

    async def no_type(number) -> int:  # type: ignore[no-untyped-def]
        return int(number)

    async def generator() -> Any:
        yield 1

    async def many(*numbers: int) -> int:
        return sum(numbers)

    async def with_pool(pool: int = Depends(lambda: 1)) -> int:
        return pool

    class Shop:
        async def method(self, number: int) -> int:
            return number

    for wrong, message in [
        (sync, r"sync .*test_workflow\.py:\d+\): a workflow is an async function: write `async def sync`"),
        (no_result, r"no_result .*has no return type"),
        (no_type, r"no_type .*parameter 'number' has no type"),
        (generator, r"generator .*is a generator"),
        (many, r"many .*\*numbers cannot be sent"),
        (with_pool, r"with_pool .*takes no Depends"),
        (lambda: 1, "needs a name"),
        (Shop, "decorates functions, not"),
        (Shop.method, r"Shop\.method .*a workflow is no method"),
    ]:
        with pytest.raises(InvalidWorkflow, match=message):
            declare(wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": timedelta(0)},
        {"timeout": 5},
        {"task_timeout": 5},
        {"versioning": "fixed"},
        {"queue": ""},
        {"tiemout": timedelta(seconds=1)},
    ],
)
def test_an_option_that_cannot_work_is_named(options: dict[str, Any]) -> None:
    declare: Any = workflow
    with pytest.raises(InvalidConfiguration, match=next(iter(options))):

        @declare(**options)
        async def some() -> None: ...


def test_two_workflows_of_one_name_are_refused_at_first_use() -> None:
    def one() -> Any:
        @workflow
        async def same() -> None: ...

        return same

    def other() -> Any:
        @workflow(name="same")
        async def another() -> None: ...

        return another

    Parts([one(), one()])
    with pytest.raises(InvalidWorkflow, match=r"'same' is the name of .*one.* and .*other.*name="):
        Parts([other()])


def test_types_that_cannot_travel_are_refused_at_first_use() -> None:
    @workflow
    async def fetch(connection: Connection) -> int:
        return 1

    with pytest.raises(
        InvalidWorkflow, match=r"fetch .*test_workflow\.py:\d+\): parameter 'connection' of type"
    ):
        Parts([fetch])


async def test_types_are_checked_at_a_start_too(holdfast_client: Client) -> None:
    @workflow
    async def fetch() -> Connection:
        return Connection()

    with pytest.raises(InvalidWorkflow, match="the result of type"):
        await holdfast_client.start(fetch)


def test_handlers_take_the_state_first() -> None:
    @workflow
    async def hello() -> None: ...

    with pytest.raises(InvalidWorkflow, match="first parameter is the run's state"):

        @hello.query
        def nothing() -> int:
            return 1

    with pytest.raises(InvalidWorkflow, match="has no return type"):

        @hello.query
        def untyped(state: int):  # type: ignore[no-untyped-def]
            return 1


def test_a_workflow_that_names_a_local_step_gets_short_tasks() -> None:
    @step(local=True)
    async def quick() -> None: ...

    @step
    async def plain() -> None: ...

    def helper() -> Any:
        return quick()

    @workflow
    async def with_quick() -> None:
        await helper()

    @workflow
    async def with_plain() -> None:
        await plain()

    @workflow(task_timeout=timedelta(seconds=7))
    async def with_its_own() -> None:
        await quick()

    assert with_quick.task_timeout == timedelta(seconds=2)
    assert with_plain.task_timeout is None
    assert with_its_own.task_timeout == timedelta(seconds=7)


async def test_a_keyword_only_parameter_is_sent_by_a_parent_or_has_its_default(
    holdfast_client: Client,
) -> None:
    @workflow
    async def child(number: int, *, plus: int = 1) -> int:
        return number + plus

    @workflow
    async def parent() -> int:
        return await child(1, plus=5)

    async with Worker(holdfast_client, [child, parent]):
        assert await holdfast_client.run(child, 1) == 2
        assert await holdfast_client.run(parent) == 6


def test_a_keyword_only_parameter_without_default_is_refused() -> None:
    with pytest.raises(InvalidWorkflow, match=r"'plus' is keyword-only"):

        @workflow
        async def child(number: int, *, plus: int) -> int:
            return number + plus
