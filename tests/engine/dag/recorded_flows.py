"""The DAGs whose runs are recorded under `tests/histories/dag`. `python -m tests.engine.dag.record` records them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

from pydantic import BaseModel, Field, JsonValue

from holdfast import (
    Executor,
    ExecutorContext,
    Permanent,
    map_steps,
    register_executor,
    step,
    step_info,
    workflow,
)
from holdfast.authoring.dag import Dag
from holdfast.authoring.next_call import TOOLS, NextCall, ToolCall
from holdfast.engine.dag import limits
from holdfast.engine.maps import mapper
from holdfast.spec.duration import Duration
from holdfast.spec.model import BudgetSpec


@contextmanager
def small() -> Iterator[None]:
    """Runs continue as new early, and short maps go to child runs: recordings stay small."""
    changes = {(limits, "_SOFT_EVENTS"): 40, (limits, "_HARD_EVENTS"): 80}
    changes |= {(mapper, "_ITEMS"): 4, (mapper, "_LOCAL_ITEMS"): 4, (mapper, "_CHILDREN"): 3}
    with ExitStack() as stack:
        for (module, name), value in changes.items():
            stack.enter_context(mock.patch.object(module, name, value))
        yield


class CountConfig(BaseModel, extra="forbid"):
    prefix: str = Field(description="What comes first.")


class CountOutput(BaseModel):
    text: str = Field(description="The prefix and what there is.")


@register_executor
class Count(Executor[CountConfig, CountOutput]):
    """Names what its node depends on."""

    type = "recorded_count"

    async def execute(self, ctx: ExecutorContext, config: CountConfig, input: JsonValue) -> CountOutput:
        assert isinstance(input, dict)
        ctx.add_usage(cost_usd=0.25, tokens=5)
        return CountOutput(text=f"{config.prefix} {', '.join(sorted(input))}")


class PageConfig(BaseModel, extra="forbid"):
    number: int = Field(default=0, description="Which page.")
    delay: Duration | None = Field(default=None, description="Before the next.")


class PageOutput(BaseModel):
    number: int = Field(description="Which page.")
    next: NextCall | None = Field(default=None, description="The next page.")


@register_executor
class Pages(Executor[PageConfig, PageOutput]):
    """Three pages, each of which says where the next one is."""

    type = "recorded_pages"

    async def execute(self, ctx: ExecutorContext, config: PageConfig, input: JsonValue) -> PageOutput:
        page = PageOutput(number=config.number)
        if config.number < 2:
            page.next = NextCall(patch={"number": config.number + 1}, delay=config.delay, max_calls=9)
        return page


class AskerConfig(BaseModel, extra="forbid"):
    tools: list[dict[str, JsonValue]] = Field(description="What it may use.", json_schema_extra=TOOLS)
    turns: int = Field(description="How often it asks for them.")


class AskerOutput(BaseModel):
    heard: list[JsonValue] = Field(description="What came of what it asked for.")
    next: NextCall | None = Field(default=None, description="The next turn.", exclude=True)


@register_executor
class Asker(Executor[AskerConfig, AskerOutput]):
    """Asks for each of its tools, turn after turn."""

    type = "recorded_asker"

    async def execute(self, ctx: ExecutorContext, config: AskerConfig, input: JsonValue) -> AskerOutput:
        heard: list[JsonValue] = []
        if ctx.earlier is not None:
            before = AskerOutput.model_validate(ctx.earlier.output)
            heard = [*before.heard, [call.error or call.output for call in ctx.earlier.calls]]
        if len(heard) == config.turns:
            return AskerOutput(heard=heard)
        given: list[dict[str, JsonValue]] = [{"what": "hotel"}, {"value": 3}, {"prefix": "{{ n }}"}]
        calls = [ToolCall(tool=place, given=each) for place, each in enumerate(given)]
        calls.append(ToolCall(error="there is no such tool"))
        return AskerOutput(heard=heard, next=NextCall(max_calls=9, repeats=True, calls=calls))


@step(name="recorded.add")
async def add(terms: list[int]) -> int:
    return 1 + sum(terms)


@step(name="recorded.refuse", retry="none")
async def refuse(value: int) -> int:
    """Takes even numbers only."""
    if value % 2:
        raise Permanent(f"{value} is odd")
    return value


@step(name="recorded.book")
async def book(what: str) -> str:
    return f"{what} booked"


@book.compensate
async def unbook(what: str, booking: str | None) -> None:
    if what == "lost":
        raise Permanent("it is lost")


@step(name="recorded.flaky", retry="quick")
async def flaky(times: int) -> int:
    if step_info().attempt < times:
        raise ValueError("again")
    return times


@step(name="recorded.text")
async def text(size: int) -> str:
    return "x" * size


@step(name="recorded.texts")
async def texts(count: int, size: int) -> list[str]:
    return [str(number) + "x" * size for number in range(count)]


@workflow(name="recorded.code_child")
async def code_child(value: int) -> int:
    return await add([value])


@workflow(name="recorded.map_in_code")
async def map_in_code(values: list[int]) -> list[Any]:
    """Of a list of numbers that go to child runs, one is refused."""
    found = await map_steps(refuse, values, concurrency=3, on_error="collect")
    return [None if isinstance(one, Exception) else one for one in found]


def sums(dag: Dag, id: str, *terms: str, **options: Any) -> None:
    arguments = {"terms": [f"{{{{ {term} == null ? 0 : {term} }}}}" for term in terms]}
    dag.add_step(add, id=id, arguments=arguments, **{"depends_on": list(terms), **options})


def chain(name: str, count: int) -> Dag:
    dag = Dag(name)
    for number in range(count):
        sums(dag, f"n{number}", *([f"n{number - 1}"] if number else []))
    return dag


def choices() -> Dag:
    """A diamond behind a switch, conditions, and ways that join again."""
    dag = Dag("choices", output="[join, unmet, cascaded]")
    sums(dag, "top")
    dag.add_switch("size", {"top > 5": "large", "top > 0": ["left", "right"]}, depends_on=["top"])
    for id in ("large", "left", "right"):
        sums(dag, id, "top")
    sums(dag, "far", "left")
    sums(dag, "join", "large", "far", "right")
    sums(dag, "unmet", "top", when="top > 5")
    sums(dag, "guarded", "unmet", when="unmet != null", when_unmet="skip_cascade")
    sums(dag, "cascaded", "guarded")
    return dag


def crowded() -> Dag:
    """More than there are places for, with what many wait for first."""
    dag = Dag("crowded", max_parallel=2, output="last")
    for id in ("a", "b", "c", "d"):
        sums(dag, id)
    sums(dag, "behind_d", "d")
    sums(dag, "behind_that", "behind_d")
    sums(dag, "last", "a", "b", "c", "behind_that")
    return dag


def loop() -> Dag:
    dag = Dag("loop")
    dag.add_step(
        add,
        id="grow",
        arguments={"terms": ["{{ grow == null ? 1 : grow }}"]},
        loop={"while": "grow < 5", "max_iterations": 9},
    )
    return dag


def maps() -> Dag:
    """In the run itself: of a list, of a count, with failures, locally, and by an executor."""
    dag = Dag("maps")
    dag.add_map(refuse, id="some", over="[0, 1, 2]", on_error="collect", arguments={"value": "{{ item }}"})
    dag.add_map(add, id="counted", over="3", concurrency=2, arguments={"terms": ["{{ index }}"]})
    dag.add_map(add, id="locally", over="3", local=True, arguments={"terms": ["{{ item }}"]})
    dag.node("named", executor="recorded_count", config={"prefix": "{{ item }}"}, map={"over": "['x', 'y']"})
    return dag


def spread() -> Dag:
    """In child runs, and in child runs of those."""
    dag = Dag("spread")
    dag.add_map(add, id="few", over="6", concurrency=3, arguments={"terms": ["{{ item }}"]})
    dag.add_map(
        add, id="many", over="14", concurrency=6, arguments={"terms": ["{{ item }}"]}, depends_on=["few"]
    )
    return dag


def cut() -> Dag:
    """Over a list that is too large for the run."""
    dag = Dag("cut", output="size(all)")
    dag.add_step(texts, id="listed", arguments={"count": 6, "size": 20_000})
    dag.node(
        "all",
        executor="recorded_count",
        config={"prefix": "{{ size(item) }} letters:"},
        map={"over": "listed.filter(one, one != '')"},
        depends_on=["listed"],
    )
    return dag


def children() -> Dag:
    """Workflows in code and as documents, once and once per item."""
    inner = Dag("inner", output="second")
    sums(inner, "first")
    sums(inner, "second", "first")
    dag = Dag("children")
    dag.add_workflow("code", code_child, input=4)
    dag.add_workflow("document", inner, depends_on=["code"])
    dag.add_workflow("each", code_child, input="{{ item }}", map={"over": "2"}, depends_on=["document"])
    return dag


def saga(last: str = "flight") -> Dag:
    """Two of three nodes are undone; `lost` cannot be."""
    dag = Dag("saga")
    dag.add_step(book, id="hotel", arguments={"what": "hotel"})
    dag.add_step(book, id="flight", arguments={"what": last}, depends_on=["hotel"])
    dag.add_map(
        book, id="rooms", over="['one', 'two']", arguments={"what": "{{ item }}"}, depends_on=["flight"]
    )
    dag.add_step(refuse, id="pay", arguments={"value": 7}, depends_on=["rooms"])
    return dag


def spread_saga() -> Dag:
    """What child runs of a map did is undone."""
    dag = Dag("spread_saga")
    dag.add_map(book, id="rooms", over="['a', 'b', 'c', 'd', 'e']", arguments={"what": "{{ item }}"})
    dag.add_step(refuse, id="pay", arguments={"value": 7}, depends_on=["rooms"])
    return dag


def waits() -> Dag:
    dag = Dag("waits", output="[word, ok.approved, late]")
    dag.add_wait("word", "word", timeout=timedelta(days=1))
    dag.add_approval("ok", "Go on with {{ word }}?", depends_on=["word"])
    dag.add_timer("time", duration=timedelta(hours=2))
    dag.add_wait("late", "never", timeout=timedelta(hours=1), when_exhausted="skip")
    return dag


def continued() -> Dag:
    """Waits, compensations, a switch and a loop go along into the next execution."""
    dag = Dag("continued", output="[word, last, counted.text, grow]")
    dag.add_wait("word", "word", timeout=timedelta(days=1))
    dag.add_step(book, id="hotel", arguments={"what": "hotel"})
    dag.add_switch("way", {"true": "n0"}, default="never", depends_on=["hotel"])
    sums(dag, "never")
    for number in range(20):
        sums(dag, f"n{number}", *([f"n{number - 1}"] if number else []))
    dag.add_step(
        add,
        id="grow",
        arguments={"terms": ["{{ grow == null ? 1 : grow }}"]},
        loop={"while": "grow < 15", "max_iterations": 20},
    )
    sums(dag, "last", "n19", "never")
    dag.node("counted", executor="recorded_count", config={"prefix": "{{ hotel }}"}, depends_on=["n19"])
    return dag


def patient() -> Dag:
    """Pauses at a failed node: it is tried again, then skipped; another is skipped before it starts."""
    dag = Dag("patient", on_failure="pause")
    dag.add_step(refuse, id="pay", arguments={"value": 7})
    sums(dag, "after", "pay")
    sums(dag, "unwanted", "after")
    sums(dag, "last", "unwanted")
    return dag


def counted() -> Dag:
    """An executor between steps, which reports what it used up, and a step with attempts."""
    dag = Dag("counted", output="count.text")
    sums(dag, "one")
    dag.add_step(flaky, id="two", arguments={"times": 2})
    dag.node(
        "count", executor="recorded_count", config={"prefix": "after {{ one }}:"}, depends_on=["one", "two"]
    )
    return dag


def large() -> Dag:
    """A condition and a template over what the run does not look at."""
    dag = Dag("large", output="after")
    dag.add_step(text, id="text", arguments={"size": 80_000})
    sums(dag, "after", when="size(text) == 80000", depends_on=["text"])
    return dag


def locally() -> Dag:
    dag = Dag("locally")
    for number in range(4):
        sums(dag, f"n{number}", *([f"n{number - 1}"] if number else []), local=True)
    return dag


def pages() -> Dag:
    """Calls that follow from one another, at once and after a time."""
    dag = Dag("pages")
    dag.node("quick", executor="recorded_pages")
    dag.node("slow", executor="recorded_pages", config={"delay": "1h"}, depends_on=["quick"])
    return dag


def tools() -> Dag:
    """Calls that an executor asks for, over several executions, undone at the end."""
    dag = Dag("tools")
    lent = [
        {"step": "recorded.book"},
        {"step": "recorded.refuse"},
        {"executor": "recorded_count", "name": "count"},
    ]
    dag.node("asker", executor="recorded_asker", config={"tools": lent, "turns": 5})
    dag.add_step(refuse, id="last", arguments={"value": "{{ size(asker.heard) }}"}, depends_on=["asker"])
    return dag


def budget() -> Dag:
    """Waits for more of its budget."""
    dag = Dag("budget", budget=BudgetSpec(max_tokens=8))
    for number in range(4):
        before = [f"n{number - 1}"] if number else []
        dag.node(f"n{number}", executor="recorded_count", config={"prefix": "x"}, depends_on=before)
    return dag
