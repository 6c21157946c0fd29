"""Executors whose calls follow from one another: each is a step, and nothing of it is done twice."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel, JsonValue

from holdfast import (
    Client,
    Dag,
    Executor,
    ExecutorContext,
    ExecutorOptions,
    RunFailed,
    Worker,
    register_executor,
)
from holdfast.authoring.next_call import NextCall
from holdfast.spec.duration import Duration

ASKED: list[int] = []


class PageConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    number: int = 0
    """Which page."""
    pages: int = 3
    """How many there are."""
    max_calls: int = 100
    """How many are fetched."""
    delay: Duration | None = None
    """Before the next."""
    poll: bool = False
    """Whether the same is asked again."""
    round: bool = False
    """Whether the last page leads to the first."""
    note: str = ""
    """Given back."""


class Page(BaseModel, use_attribute_docstrings=True):
    number: int
    """Which page."""
    note: str
    """As given."""
    next: NextCall | None = None
    """The next page."""


@register_executor
class Pages(Executor[PageConfig, Page]):
    """Gives page after page."""

    type = "following_pages"
    options = ExecutorOptions(has_effects=False, idempotent=True)

    async def execute(self, ctx: ExecutorContext, config: PageConfig, input: JsonValue) -> Page:
        number = len(ASKED) if config.poll else config.number
        ASKED.append(number)
        page = Page(number=number, note=config.note)
        following = number + 1
        if following < config.pages or config.round:
            patch: dict[str, JsonValue] = (
                {} if config.poll else {"number": following % config.pages, "note": "{{ 1 + 1 }}"}
            )
            page.next = NextCall(
                patch=patch, delay=config.delay, max_calls=config.max_calls, repeats=config.poll
            )
        return page


@pytest.fixture
async def client(holdfast_client: Client) -> AsyncIterator[Client]:
    ASKED.clear()
    async with Worker(holdfast_client, [], queues=["default"]):
        yield holdfast_client


def dag_of(**config: Any) -> Dag:
    dag = Dag("pages", output="pages")
    dag.node("pages", executor="following_pages", config=config)
    return dag


async def test_each_page_is_a_step_and_what_a_service_says_is_no_template(client: Client) -> None:
    run = await client.start(dag_of(note="{{ input }}"), "mine")
    found = await run.result()
    assert [(page["number"], page["note"]) for page in found] == [
        (0, "mine"),
        (1, "{{ 1 + 1 }}"),
        (2, "{{ 1 + 1 }}"),
    ]
    assert [step.activity_id for step in (await run.describe()).steps] == ["pages", "pages-2", "pages-3"]
    assert (await run.state())["nodes"]["pages"]["done"] == 3


async def test_only_the_last_look_of_a_poll_counts(client: Client) -> None:
    found = await client.run(dag_of(poll=True, delay=0.05))
    assert found["number"] == 2
    assert ASKED == [0, 1, 2]


async def test_what_never_holds_and_too_many_pages_end(client: Client) -> None:
    with pytest.raises(RunFailed, match="does not hold after 2 calls") as failed:
        await client.run(dag_of(poll=True, max_calls=2))
    assert failed.value.error_type == "WaitTimeout"
    ASKED.clear()
    with pytest.raises(RunFailed, match="more than max_pages=2"):
        await client.run(dag_of(max_calls=2))
    assert ASKED == [0, 1]


async def test_pages_that_go_round_in_a_circle_end(client: Client) -> None:
    with pytest.raises(RunFailed, match="in a circle: after page 4"):
        await client.run(dag_of(round=True))
    assert ASKED == [0, 1, 2, 0]


async def test_between_two_looks_a_poll_can_be_skipped(client: Client) -> None:
    run = await client.start(dag_of(poll=True, delay=600))
    while (await run.state())["nodes"]["pages"]["state"] != "waiting":  # noqa: ASYNC110 - the run is elsewhere
        await asyncio.sleep(0.05)
    view = (await run.state())["nodes"]["pages"]
    assert view["waits_for"] == "the time of its next call"
    await run.update("skip_node", "pages")
    assert await run.result() is None
    assert ASKED == [0]


async def test_a_map_says_that_it_makes_one_call_per_item(client: Client) -> None:
    dag = Dag("mapped")
    dag.node("each", executor="following_pages", config={}, map={"over": "2"})
    with pytest.raises(RunFailed, match="map over a DAG that has the node"):
        await client.run(dag)


async def test_a_long_chain_goes_on_in_the_next_execution(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engine.dag.limits._HARD_EVENTS", 40)
    run = await client.start(dag_of(pages=20))
    found = await run.result()
    assert [page["number"] for page in found] == list(range(20))
    assert list(range(20)) == ASKED
    ASKED.clear()
    found = await client.run(dag_of(pages=20, poll=True, delay=0.01))
    assert found["number"] == 19
    assert list(range(20)) == ASKED
