"""The limit that a call states: how many of all calls are at work, by the service's count."""

from __future__ import annotations

import asyncio

import pytest

from holdfast import Client, RunFailed, Worker
from holdfast.authoring.dag import Dag
from holdfast_executors.http_limit import limit_of
from holdfast_executors.http_request import HttpConfig

from . import http_flows as flows
from .http_attempts import refused
from .http_service import Asked, Handler, reply, serving


def counting(most: list[int]) -> Handler:
    """Takes a moment for each call, and keeps how many there were at a time."""
    now = 0

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal now
        now += 1
        most.append(now)
        await asyncio.sleep(0.05)
        now -= 1
        writer.write(reply("ok"))

    return handler


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HTTP_ALLOW", "127.0.0.1")


@pytest.mark.usefixtures("local")
async def test_nodes_of_a_dag_share_it(holdfast_client: Client) -> None:
    most: list[int] = []
    async with serving(counting(most)) as service, Worker(holdfast_client, [flows]):
        dag = Dag("limited")
        for number in range(8):
            config = {"url": f"{service.url}/{number}", "limit": {"concurrency": 2}}
            dag.node(f"n{number}", executor="http", config=config)
        await holdfast_client.run(dag, None)
        assert len(service.asked) == 8
    assert max(most) == 2


async def test_no_secret_gets_into_its_key() -> None:
    config = {"url": "http://127.0.0.1:1/", "limit": {"key": "{{ secrets.KEY }}", "concurrency": 1}}
    said = await refused(config, secrets={"KEY": "canary-5h4v9q-sings"})
    assert said == "InvalidInput: the key of the limit holds a secret, and would be part of a run's id"


@pytest.mark.usefixtures("local")
async def test_a_failed_call_gives_its_place_back(holdfast_client: Client) -> None:
    limit = {"concurrency": 1}
    async with Worker(holdfast_client, [flows]):
        for _ in range(2):
            with pytest.raises(RunFailed, match="ConnectError"):
                await holdfast_client.run(
                    flows.fetch, "http://127.0.0.1:1/", {"limit": limit, "retry": "none"}
                )


@pytest.mark.parametrize(
    ("url", "limit", "key"),
    [
        ("https://Api.Example.com/a?b", {"rate": "5/s"}, "api.example.com"),
        ("https://api.example.com:8443/", {"concurrency": 1}, "api.example.com:8443"),
        ("https://api.example.com/", {"concurrency": 1, "key": "tenant-7"}, "tenant-7"),
    ],
)
def test_its_key_is_the_host_or_what_the_config_says(url: str, limit: dict[str, object], key: str) -> None:
    found = limit_of(HttpConfig.model_validate({"url": url, "limit": limit}))
    assert found is not None
    assert found.key == key


@pytest.mark.usefixtures("local")
async def test_a_service_that_fails_is_not_called_for_a_while(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [flows]):
        with pytest.raises(RunFailed, match="ConnectError"):
            await holdfast_client.run(
                flows.fetch, "http://127.0.0.1:1/", {"breaker": {"failures": 1}, "retry": "none"}
            )
    [breaker] = await holdfast_client.breakers.list()
    assert (breaker.key, breaker.state) == ("127.0.0.1:1", "open")


def test_a_breaker_of_more_than_an_hour_is_refused() -> None:
    with pytest.raises(ValueError, match="at most an hour"):
        HttpConfig.model_validate({"url": "https://api.example.com/", "breaker": {"reset": "2h"}})
