"""`client.workflows`: documents in versions, and runs that keep the one they began with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Client, Conflict, Dag, InvalidInput, NotFound, Worker

pytest.importorskip("holdfast_executors")


def document(expression: str, name: str = "sums") -> dict[str, Any]:
    return {
        "name": name,
        "nodes": [
            {"id": "hold", "type": "wait", "config": {"event": "go"}},
            {
                "id": "made",
                "type": "transform",
                "config": {"expression": expression, "data": "{{ input }}"},
                "depends_on": ["hold"],
            },
        ],
        "output": "made",
    }


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with Client.embedded(tmp_path / ".holdfast") as made:
        yield made


async def test_a_run_keeps_the_document_it_began_with(client: Client) -> None:
    async with Worker(client, []):
        await client.workflows.create(document("input + 1"), by="ann")
        old = await client.workflows.start("sums", 1, id="old")
        assert (await client.workflows.update(document("input + 100"), if_version=1)).version == 2
        new = await client.workflows.start("sums", 1)
        named = await client.workflows.start("sums", 1, version=1)
        await client.workflows.delete("sums")
        with pytest.raises(NotFound, match="deleted"):
            await client.workflows.start("sums", 1)
        for run in (old, new, named):
            await run.send("go", True)
        assert [await run.result() for run in (old, new, named)] == [2, 101, 2]
        found = await client.temporal.get_workflow_handle("old").describe()
        assert (await found.memo())["definition_version"] == 1


async def test_documents_of_any_form_are_one(client: Client) -> None:
    store = client.workflows
    text = json.dumps(document("1"))
    yaml = "name: sums\noutput: made\nnodes:\n"
    yaml += "  - {id: made, type: transform, config: {expression: '1', data: '{{ input }}'}, depends_on: [hold]}\n"
    yaml += "  - {id: hold, type: wait, config: {event: go}}\n"
    assert (await store.push(text)).is_new
    assert not (await store.push(yaml.encode())).is_new, "the order of nodes means nothing"
    assert not (await store.push(document("1"))).is_new
    with pytest.raises(Conflict):
        await store.create(text)
    assert [one.version for one in await store.versions("sums")] == [1]
    stored = await store.get("sums")
    assert stored.to_dict()["document"]["nodes"][0]["id"] == "hold"
    assert "made" in await store.diagram("sums")
    assert [one.name for one in await store.list()] == ["sums"]
    await store.audit("sums", level="pedantic")

    dag = Dag("built")
    dag.node("one", executor="transform", config={"expression": "1"})
    assert (await store.push(dag)).version == 1
    await store.delete("built")
    assert (await store.restore("built")).version == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": "x' OR 1=1", "nodes": []}, "HF-D001"),
        ({"name": "n" * 201, "nodes": []}, "HF-D001"),
        ({"name": "a", "nodes": [{"id": "b", "type": "transform", "depends_on": ["c"]}]}, "HF-D010"),
        ({"name": "a", "nodes": [{"id": "b", "type": "transform", "config": {"wrong": 1}}]}, "HF-D031"),
        ("name: a\nname: b\nnodes: []", "HF-D001"),
        ('{"name": "a", "nodes": [', "HF-D001"),
        ("", "HF-D001"),
        ("a: &x [*x]", "HF-D001"),
    ],
)
async def test_what_cannot_run_is_not_stored(client: Client, wrong: Any, code: str) -> None:
    found = client.workflows.validate(wrong)
    assert code in [finding.code for finding in found]
    with pytest.raises(InvalidInput):
        await client.workflows.push(wrong)
    assert await client.workflows.list() == []


async def test_what_is_no_document_is_refused(client: Client) -> None:
    with pytest.raises(InvalidInput, match="no DAG"):
        await client.workflows.push(5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


async def test_a_good_document_has_no_findings(client: Client) -> None:
    assert client.workflows.validate(document("input + 1")) == []
