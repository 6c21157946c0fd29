"""Starting runs and looking after them, as a user of the client sees it."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from holdfast import (
    AlreadyStarted,
    Client,
    InvalidConfiguration,
    InvalidInput,
    NotFound,
    NotInWorkflow,
    PayloadTooLarge,
    RunClosed,
    RunFailed,
    RunState,
    Unavailable,
    WaitTimeout,
    Worker,
    step,
    wait_for,
    workflow,
)

GREETED: list[str] = []


@step
async def cl_greet(name: str) -> str:
    GREETED.append(name)
    return f"hello {name}"


@workflow
async def cl_hello(name: str) -> str:
    return await cl_greet(name)


@workflow
async def cl_wait(name: str = "x") -> str:
    return await wait_for("go", str)


@workflow
async def cl_fail() -> None:
    raise ValueError("on purpose")


async def _eventually(question: Any, seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while not (answer := await question()):
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.05)
    return answer


@pytest.mark.parametrize("run_id", ["", "a" * 201, "../x", "a\0b", "a b", "a/b", "..", "ä", "a\n"])
async def test_an_id_that_is_unsafe_is_refused(holdfast_client: Client, run_id: str) -> None:
    with pytest.raises(InvalidInput, match=r"id="):
        await holdfast_client.start(cl_hello, "x", id=run_id)
    assert await holdfast_client.runs.count() == 0


async def test_an_id_that_is_no_text_is_refused(holdfast_client: Client) -> None:
    with pytest.raises(InvalidInput, match="id=5: a run id is a text"):
        await holdfast_client.start(cl_hello, "x", id=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_an_id_of_the_options_is_the_runs(holdfast_client: Client) -> None:
    name = f"named-{uuid.uuid4().hex[:8]}"
    async with Worker(holdfast_client, [cl_hello]):
        run = await holdfast_client.start(cl_hello.with_options(id=name), "x", timeout=timedelta(minutes=1))
        assert run.id == name
        other = await holdfast_client.start(cl_hello.with_options(id=name), "x", id=f"{name}-2")
        assert other.id == f"{name}-2"
        await run.result()
        await other.result()


async def test_queries_and_updates_are_called_by_their_names(holdfast_client: Client) -> None:
    run = await holdfast_client.start(cl_wait)
    with pytest.raises(InvalidInput, match=r"a query is called by its name: run.query\('cl_greet', ...\)"):
        await run.query(cl_greet)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="an update is called by its name"):
        await run.update(cl_greet)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_query_says_that_no_worker_is_there_to_answer(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [cl_wait]):
        run = await holdfast_client.start(cl_wait)
        await run.state()
    with pytest.raises(Unavailable, match="no worker is there to answer"):
        await run.state()


async def test_an_id_of_200_characters_is_fine(holdfast_client: Client) -> None:
    run = await holdfast_client.start(cl_wait, id="a" * 196 + "._:-")
    assert run.id.endswith("._:-")


async def test_a_known_id_raises_with_the_run_that_has_it(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [cl_hello]):
        first = await holdfast_client.start(cl_hello, "a", id="one")
        with pytest.raises(AlreadyStarted, match="'one'") as running:
            await holdfast_client.start(cl_hello, "b", id="one")
        assert running.value.run.id == "one"
        assert await first.result() == "hello a"
        with pytest.raises(AlreadyStarted) as closed:
            await holdfast_client.run(cl_hello, "c", id="one")
        assert await closed.value.run.result() == "hello a"
    assert "b" not in GREETED
    assert "c" not in GREETED


async def test_a_known_id_may_return_its_run_or_start_again(holdfast_client: Client) -> None:
    start = holdfast_client.start
    waiting = await start(cl_wait, id="w")
    assert (await start(cl_wait, id="w", if_exists="return")).id == "w"
    async with Worker(holdfast_client, [cl_hello, cl_wait]):
        await start(cl_hello, "a", id="one")
        again = await start(cl_hello, "b", id="one", if_exists="return")
        assert await again.result() == "hello a"
        assert await holdfast_client.run(cl_hello, "c", id="one", if_exists="return") == "hello a"
        assert await holdfast_client.run(cl_hello, "d", id="one", if_exists="restart") == "hello d"
        await start(cl_hello, "e", id="w", if_exists="restart")
        assert await waiting.result() == "hello e"
    wrong: Any = "replace"
    with pytest.raises(InvalidInput, match="if_exists='replace'"):
        await start(cl_hello, "a", if_exists=wrong)


async def test_what_is_no_workflow_is_refused(holdfast_client: Client) -> None:
    start: Any = holdfast_client.start
    for wrong in (cl_greet, cl_hello.fn, "cl_hello", None):
        with pytest.raises(InvalidInput, match="decorate the function with @workflow"):
            await start(wrong)
    with pytest.raises(NotInWorkflow, match=r"client\.run\(cl_hello"):
        await cl_hello("x")
    assert await cl_hello.fn("plain") == "hello plain"


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 0},
        {"priority": 9},
        {"delay": timedelta(seconds=-1)},
        {"delay": 5},
        {"timeout": timedelta(0)},
        {"timeout": 5},
        {"queue": ""},
    ],
)
async def test_an_option_that_cannot_work_is_named(holdfast_client: Client, options: dict[str, Any]) -> None:
    start: Any = holdfast_client.start
    with pytest.raises((InvalidInput, InvalidConfiguration), match=next(iter(options))):
        await start(cl_hello, "x", **options)
    assert await holdfast_client.runs.count() == 0


async def test_options_arrive(holdfast_client: Client) -> None:
    keyword = SearchAttributeKey.for_keyword("HoldfastTest")
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest

    await holdfast_client.temporal.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=holdfast_client.namespace,
            search_attributes={keyword.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD},
        )
    )
    async with Worker(holdfast_client, [cl_hello]):
        run = await holdfast_client.start(
            cl_hello,
            "x",
            priority=1,
            memo={"order": 42},
            summary="one line",
            search_attributes=TypedSearchAttributes([SearchAttributePair(keyword, "yes")]),
            delay=timedelta(seconds=0.5),
        )
        assert await run.status() in (RunState.PENDING, RunState.RUNNING)
        await run.result()
        described = await run.describe()
        assert described.memo["order"] == 42
        assert described.search_attributes["HoldfastTest"] == "yes"
        assert described.state is RunState.COMPLETED


async def test_a_result_may_be_awaited_for_a_while(holdfast_client: Client) -> None:
    run = await holdfast_client.start(cl_wait)
    with pytest.raises(WaitTimeout, match="it goes on"):
        await run.result(timeout=timedelta(seconds=0.3))
    waiting = asyncio.create_task(run.result())
    await asyncio.sleep(0.2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not (await run.status()).closed


async def test_states_follow_the_run(holdfast_client: Client) -> None:
    run = await holdfast_client.start(cl_wait)
    assert await run.status() is RunState.PENDING
    async with Worker(holdfast_client, [cl_wait, cl_fail]):

        async def waits() -> bool:
            return await run.status() is RunState.WAITING

        await _eventually(waits)
        await run.pause("lunch")

        async def paused() -> bool:
            return await run.status() is RunState.PAUSED

        await _eventually(paused)
        await run.resume()
        await run.send("go", "on")
        assert await run.result() == "on"
        assert await run.status() is RunState.COMPLETED
        failing = await holdfast_client.start(cl_fail)
        with pytest.raises(RunFailed, match="ValueError: on purpose"):
            await failing.result()
        assert await failing.status() is RunState.FAILED
        described = await failing.describe()
        assert described.error is not None
        assert described.error.type == "ValueError"


async def test_a_closed_run_takes_nothing_and_an_unknown_one_is_not_found(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [cl_hello]):
        run = await holdfast_client.start(cl_hello, "x")
        await run.result()
        for call in (run.cancel, run.terminate, run.pause, run.resume):
            with pytest.raises(RunClosed, match="completed"):
                await call()
        unknown = holdfast_client.get("nobody")
        for call in (unknown.cancel, unknown.terminate, unknown.pause, unknown.result, unknown.describe):
            with pytest.raises(NotFound, match="no run 'nobody'"):
                await call()
        with pytest.raises(NotFound, match="no run 'nobody'"):
            await unknown.query("x")
    with pytest.raises(InvalidInput):
        holdfast_client.get("")


async def test_runs_are_listed_and_counted(holdfast_client: Client) -> None:
    runs = holdfast_client.runs
    async with Worker(holdfast_client, [cl_hello, cl_fail, cl_wait]):
        for name in "ab":
            await holdfast_client.run(cl_hello, name)
        with pytest.raises(RunFailed):
            await holdfast_client.run(cl_fail)
        waiting = await holdfast_client.start(cl_wait)

        async def all_there() -> bool:
            return (await runs.count(), await runs.count(open=True)) == (4, 1)

        await _eventually(all_there)
        assert await runs.count(state="completed", workflow="cl_hello") == 2
        assert {found.workflow for found in await runs.list(state="failed")} == {"cl_fail"}
        assert len(await runs.list(limit=2)) == 2

        async def shown_waiting() -> bool:
            (found,) = await runs.list(workflow="cl_wait")
            return found.state is RunState.WAITING and found.id == waiting.id

        await _eventually(shown_waiting)
    for wrong in (
        {"state": "sleeping"},
        {"state": "running"},
        {"workflow": 'x" OR "1"="1'},
        {"workflow": ""},
    ):
        find: Any = runs.list
        with pytest.raises(InvalidInput):
            await find(**wrong)
    with pytest.raises(InvalidInput):
        await holdfast_client.approvals.list(run_id='x" OR WorkflowId != "')


async def test_arguments_over_50_mib_are_refused(holdfast_client: Client) -> None:
    with pytest.raises(PayloadTooLarge, match=r"Argument 'name' of workflow 'cl_hello'.*60\.0 MiB"):
        await holdfast_client.start(cl_hello, "x" * (60 * 1024 * 1024))


async def test_without_a_storage_arguments_over_2_mib_are_refused(holdfast_client: Client) -> None:
    address, namespace = holdfast_client.address, holdfast_client.namespace
    async with Client.connect(address, namespace=namespace) as inline, Worker(inline, [cl_hello]):
        assert inline.home is None
        assert inline.searchable
        assert await inline.run(cl_hello, "x") == "hello x"
        with pytest.raises(PayloadTooLarge, match="HOLDFAST_STORAGE"):
            await inline.start(cl_hello, "x" * 3_000_000)


async def test_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port} does not answer"):
        async with Client.connect(f"127.0.0.1:{port}"):
            pass
    for wrong in ("", "no port", "127.0.0.1:port"):
        with pytest.raises((Unavailable, InvalidConfiguration)):
            async with Client.connect(wrong):
                pass
    with pytest.raises(Unavailable, match="not connected"):
        await Client.connect("x").run(cl_hello, "x")


async def test_temporals_own_configuration_is_used(
    holdfast_client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", holdfast_client.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", holdfast_client.namespace)
    async with Client.connect() as client:
        assert (client.address, client.namespace) == (holdfast_client.address, holdfast_client.namespace)
    monkeypatch.delenv("TEMPORAL_ADDRESS")
    monkeypatch.delenv("TEMPORAL_NAMESPACE")
    file = tmp_path / "temporal.toml"
    file.write_text(
        f'[profile.ours]\naddress = "{holdfast_client.address}"\nnamespace = "{holdfast_client.namespace}"\n'
    )
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    async with Client.connect(profile="ours") as client:
        assert client.namespace == holdfast_client.namespace
    file.write_text("this is no toml")
    with pytest.raises(InvalidConfiguration, match="configuration"):
        async with Client.connect(profile="ours"):
            pass


async def test_awaiting_a_client_connects_it(holdfast_client: Client) -> None:
    client = await Client.connect(holdfast_client.address, namespace=holdfast_client.namespace)
    assert await client.runs.count() == 0
    await client.close()
    await client.close()


async def test_a_memo_cannot_speak_for_holdfast(holdfast_client: Client) -> None:
    with pytest.raises(InvalidInput, match=r"'holdfast\.carry'"):
        await holdfast_client.start(cl_wait, memo={"holdfast.carry": {"compensations": []}})
