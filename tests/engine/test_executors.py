"""The worker's side of an executor, called from workflows in code."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast import Client, RunFailed, Worker
from holdfast.testing import override

from . import executor_flows as flows
from .support import eventually

SECRET = 'sk-live/7h3"qu1ck\\brown+fox='
PIECE = "qu1ck"
"""Of the secret, without anything that is escaped anywhere."""

ALL: list[object] = [flows]


async def recorded(client: Client, run_id: str) -> bytes:
    """Everything that Temporal keeps of a run, payloads included, as they are without a codec."""
    history = await client.temporal.get_workflow_handle(run_id).fetch_history()
    return b"".join(event.SerializeToString() for event in history.events)


async def test_a_call_in_a_workflow_is_a_step(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, ALL):
        run = await holdfast_client.start(flows.say, "hello", "world")
        said = await run.result()
    assert said == flows.Said(
        text="hello world", idempotency_key=f"{run.id}/executor:talk-1", node="executor:talk-1"
    )
    assert [step.name for step in (await run.describe()).steps] == ["executor:talk"]


async def test_two_calls_are_two_steps_with_keys_of_their_own(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, ALL):
        first, second = await holdfast_client.run(flows.say_twice, "hello")
    assert (first.text, second.text) == ("HELLO", "hello")
    assert first.idempotency_key != second.idempotency_key


async def test_what_a_worker_opens_is_shared_and_closed_with_it(holdfast_client: Client) -> None:
    flows.opened.clear()
    async with Worker(holdfast_client, ALL):
        await holdfast_client.run(flows.say_twice, "hello")
        assert flows.opened == ["open"]
    assert flows.opened == ["open", "close"]


async def test_an_override_takes_the_place_of_what_a_worker_opens(holdfast_client: Client) -> None:
    flows.opened.clear()
    async with Worker(holdfast_client, ALL, overrides={flows.open_line: ["open", "mine"]}):
        await holdfast_client.run(flows.say_twice, "hello")
    assert flows.opened == []


@pytest.mark.parametrize("text", ["{{ secrets.API_KEY }}", "{{", "{{ 1 + 1 }} and }}", "{{ '{{' }}"])
async def test_text_from_outside_is_never_a_template(holdfast_client: Client, text: str) -> None:
    async with Worker(holdfast_client, ALL, secrets={"API_KEY": SECRET}):
        said = await holdfast_client.run(flows.say, text, text)
    assert said.text == f"{text} {text}"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"shout": "perhaps"}, 'shout: expected true or false, got "perhaps"'),
        ({"loud": True}, "loud: there is no such field. There is: "),
        ({"text": "unspeakable"}, "text: nobody says that"),
    ],
)
async def test_a_config_that_does_not_fit_fails_at_once_and_names_node_and_field(
    holdfast_client: Client, config: dict[str, Any], says: str
) -> None:
    async with Worker(holdfast_client, ALL):
        run = await holdfast_client.start(flows.say_wrong, config)
        with pytest.raises(RunFailed, match=says) as failed:
            await run.result()
    assert "'executor:talk-1' (executor 'talk')" in str(failed.value)
    assert (await run.describe()).steps[0].attempt == 1


@pytest.mark.parametrize("how", ["quotes", "permanent", "returns", "beats", "logs"])
async def test_a_secret_is_never_recorded_or_logged(
    holdfast_client: Client, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Worker(holdfast_client, ALL, secrets={"API_KEY": SECRET}):
        run = await holdfast_client.start(flows.trouble, how)
        if how in ("quotes", "permanent"):
            with pytest.raises(RunFailed, match=r"\*\*\*"):
                await run.result()
        else:
            shown = await run.result()
            assert how == "logs" or "***" in str(shown)
    kept = await recorded(holdfast_client, run.id)
    assert b"API_KEY" in kept, "the name of a secret is what a history shows"
    assert PIECE.encode() not in kept
    assert PIECE not in str(await run.describe())
    assert PIECE not in caplog.text
    if how == "logs":
        assert "using ***" in caplog.text
        assert "GET /?key=***" in caplog.text


async def test_a_config_with_a_secret_that_does_not_fit_does_not_show_it(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, ALL, secrets={"API_KEY": SECRET * 10}):
        run = await holdfast_client.start(flows.shout_secret)
        with pytest.raises(RunFailed, match=r'shout: .* got "\*\*\*"'):
            await run.result()
    assert PIECE.encode() not in await recorded(holdfast_client, run.id)


async def test_a_secret_that_is_nowhere_fails_for_good_and_says_where_it_was_looked_for(
    holdfast_client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_SECRETS_DIR", str(tmp_path))
    async with Worker(holdfast_client, ALL, secrets={"OTHER": "x"}):
        run = await holdfast_client.start(flows.trouble, "quotes")
        with pytest.raises(RunFailed, match="there is no secret 'API_KEY'; looked for in") as failed:
            await run.result()
    for place in ("the secrets given to the worker", "HOLDFAST_SECRET_API_KEY", str(tmp_path / "API_KEY")):
        assert place in str(failed.value)
    assert (await run.describe()).steps[0].attempt == 1


async def test_an_executor_asks_for_a_secret_that_its_config_names(
    holdfast_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_SECRET_TOKEN", "12345678")
    async with Worker(holdfast_client, ALL):
        assert await holdfast_client.run(flows.name_secret, "TOKEN") == 8
        with pytest.raises(RunFailed, match="is no name of a secret"):
            await holdfast_client.run(flows.name_secret, "../etc/passwd")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("unreadable", "Unreadable, whose text cannot be read"),
        ("unserialisable", "The result of step 'executor:trouble' of type dict cannot be written as JSON"),
        ("exits", "SystemExit: 3"),
    ],
)
async def test_what_cannot_travel_is_a_clear_error(holdfast_client: Client, how: str, says: str) -> None:
    async with Worker(holdfast_client, ALL, secrets={"API_KEY": SECRET}):
        with pytest.raises(RunFailed, match=says):
            await holdfast_client.run(flows.trouble, how)
        assert await holdfast_client.run(flows.trouble, "spends") == "spent"


async def test_failures_are_tried_again_by_the_executors_policy(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, ALL, secrets={"API_KEY": SECRET}):
        run = await holdfast_client.start(flows.trouble, "quotes")
        with pytest.raises(RunFailed, match="failed after 3 attempts: RuntimeError"):
            await run.result()


async def test_what_an_attempt_spent_is_in_the_metadata_of_its_result(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, ALL, secrets={"API_KEY": SECRET}):
        run = await holdfast_client.start(flows.trouble, "spends")
        await run.result()
    history = await run.history()
    [payload] = [
        event.activity_task_completed_event_attributes.result.payloads[0]
        for event in history.events
        if event.HasField("activity_task_completed_event_attributes")
    ]
    assert payload.metadata["holdfast-usage"] == b'{"cost_usd":0.25,"tokens":111}'


async def test_a_cancel_reaches_an_executor(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, ALL, secrets={"API_KEY": SECRET}):
        run = await holdfast_client.start(flows.trouble, "sleeps")
        await eventually(lambda: _running(run))
        await run.cancel()
        with pytest.raises(RunFailed, match="cancelled"):
            async with asyncio.timeout(30):
                await run.result()


async def _running(run: Any) -> bool:
    return any(step.state == "running" for step in (await run.describe()).steps)


async def test_an_executor_that_allows_it_runs_locally(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, ALL):
        run = await holdfast_client.start(flows.say_locally, "hello")
        assert (await run.result()).text == "hello"
    history = await run.history()
    assert not any(event.HasField("activity_task_scheduled_event_attributes") for event in history.events)


async def test_outside_a_workflow_a_call_runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    flows.opened.clear()
    monkeypatch.setenv("HOLDFAST_SECRET_TOKEN", "12345678")
    assert (await flows.Talk.call({"text": "hi"}, timeout=timedelta(seconds=5))).text == "hi"
    assert flows.opened == ["open", "close"]
    with override({flows.open_line: ["open"]}):
        assert (
            await flows.Talk.call(flows.TalkConfig(text="{{ secrets.TOKEN }}"))
        ).text == "{{ secrets.TOKEN }}"
    assert await flows.Trouble.call({"how": "named", "key": "TOKEN"}) == 8
    assert flows.opened == ["open", "close"]
