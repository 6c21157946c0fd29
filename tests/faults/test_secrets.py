"""A secret that a worker uses in every way is found nowhere afterwards: not in the server's database and its log of
writes, not in histories, results, errors, descriptions, logs and stored payloads."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from tests.executors.http_service import Asked, reply, serving

from holdfast import Client, Dag, RetryPolicy, Run, RunFailed
from holdfast.authoring.registry import fresh_registry

from .conftest import Scene

with fresh_registry():  # only the worker process serves them
    from . import served_secrets as flows

CANARY = "sk-canary/7h3\"Qu1ck\\Br0wn+F0x=J9'"
MARKER = "a-marker-that-is-no-secret"
KEY = "{{ secrets.CANARY }}"
QUICK = RetryPolicy(max_attempts=2, first_delay=timedelta(milliseconds=10))
LEAKS = ("returns", "raises", "chains", "gives up", "logs", "beats", "hides")


def forms() -> Iterator[bytes]:
    """The canary as it may be written, and parts of it that no way of writing changes."""
    raw = CANARY.encode()
    yield from (raw, json.dumps(CANARY)[1:-1].encode(), repr(CANARY)[1:-1].encode(), raw.hex().encode())
    yield from (
        json.dumps(json.dumps(CANARY))[3:-3].encode(),
        quote(CANARY).encode(),
        quote_plus(CANARY).encode(),
    )
    for offset in range(3):
        # Three bytes are four characters: what stands around it changes at most the first and the last of them.
        yield base64.b64encode(b"x" * offset + raw)[4:-4]
    yield from (b"7h3", b"Qu1ck", b"Br0wn", b"F0x")


async def echo(asked: Asked, writer: Any) -> None:
    """What was asked comes back, as some services do in their errors."""
    seen = {"target": asked.target, "headers": asked.headers, "body": asked.body.decode(), "marker": MARKER}
    writer.write(reply(seen, 401 if asked.path == "/refuses" else 200))


def everything(url: str) -> Dag:
    """Nodes that use the canary in each place of a config; those that fail do so alone."""
    dag = Dag("leaky_everything")
    alone: Any = {"when_exhausted": "skip", "retry": QUICK}
    requests: dict[str, dict[str, Any]] = {
        "bearer": {"auth": {"type": "bearer", "secret": "CANARY"}},
        "basic": {"auth": {"type": "basic", "username": "ada", "secret": "CANARY"}},
        "header": {"auth": {"type": "header", "name": "X-Api-Key", "secret": "CANARY"}},
        "query": {"query": {"key": KEY}},
        "body": {"method": "POST", "body": {"deep": [{"key": KEY}]}},
        "form": {"method": "POST", "body_type": "form", "body": {"key": KEY}},
        "refused": {"url": f"{url}/refuses", "query": {"key": KEY}},
        "unreachable": {"url": "http://127.0.0.1:9/", "query": {"key": KEY}},
        "in_path": {"url": f"{url}/{KEY}"},
        "wrong_type": {"max_redirects": KEY},
        "wrong_method": {"method": KEY},
    }
    for name, config in requests.items():
        dag.node(name, executor="http", config={"url": url, **config}, **alone)
    dag.node("text", executor="transform", config={"template": {"key": KEY, KEY: 1}}, local=True, **alone)
    dag.node("plain", executor="transform", config={"template": f"key={KEY}"}, **alone)
    dag.node("program", executor="transform", config={"jq": "error($k)", "variables": {"k": KEY}}, **alone)
    dag.node(
        "cel", executor="transform", config={"expression": "k.missing", "variables": {"k": KEY}}, **alone
    )
    dag.node("written", executor="convert", config={"write": "base64", "data": f"u:{KEY}"}, **alone)
    dag.node("unread", executor="convert", config={"read": "xml", "data": KEY}, **alone)
    for number, how in enumerate(LEAKS):
        dag.node(f"leak{number}", executor="leaky", config={"how": how, "key": KEY}, **alone)
        dag.node(f"named{number}", executor="leaky", config={"how": how}, **alone)
    every = [node.id for node in dag.compile().nodes]
    dag.node("end", executor="leaky", config={"how": "gives up"}, depends_on=every, retry="none")
    return dag


async def told(run: Run[Any]) -> list[str]:
    """All that a client can learn of a run."""
    try:
        shown = [repr(await run.result())]
    except RunFailed as error:
        shown = [str(error), repr(error.details), repr(error.__cause__)]
    history = await run.history()
    return [*shown, repr(await run.describe()), history.to_json(), await run.diagram("svg")]


async def test_a_secret_that_is_used_is_found_nowhere(scene: Scene, client: Client) -> None:
    async with serving(echo) as service:
        environment = {
            "HOLDFAST_SECRET_CANARY": CANARY,
            "HOLDFAST_HTTP_ALLOW": f"127.0.0.1:{service.port}, 127.0.0.1:9",
        }
        host = await scene.host(environment, served=["tests.faults.served_secrets"])
        runs = [await client.start(everything(service.url), None)]
        for workflow in (flows.leaks_in_code, flows.leaks_in_a_step):
            runs += [await client.start(workflow, how) for how in LEAKS]
        shown = [text for run in runs for text in await told(run)]
        authorised = [asked for asked in service.asked if asked.headers.get("x-api-key")]
    assert authorised[0].headers["x-api-key"] == CANARY, "the service did not get it"
    assert any("***" in text for text in shown)
    found = {f"what run.{index} tells": text.encode() for index, text in enumerate(shown)}
    before = files(scene.folder)
    assert any(MARKER.encode() in data for name, data in before.items() if "temporal" in name), sorted(before)
    host.terminate()
    await host.ended(20)
    found |= before | files(scene.folder)
    assert any(name.endswith("-wal") for name in found), sorted(found)
    assert "some.library" in host.said
    hits = [(name, form) for name, data in found.items() for form in forms() if form in data]
    for name, form in hits:
        at = found[name].index(form)
        print(name, form, found[name][max(0, at - 300) : at + 100])
    assert hits == []


def files(folder: Path) -> dict[str, bytes]:
    """Everything under a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
