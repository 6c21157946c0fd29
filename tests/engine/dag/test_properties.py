"""Any DAG that is accepted runs its nodes as its edges and conditions say, and ends in a way that people can read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.spec.mutations import mutated_documents

from holdfast import Client, InvalidInput, RunFailed, Worker, step
from holdfast.spec.document import load_value
from holdfast.spec.model import DagSpec

few = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""One worker serves all examples of a test."""

SAID: list[tuple[str, str]] = []


@step(name="properties.note")
async def note(name: str, after: Any = None) -> str | None:
    SAID.append(("begin", name))
    await asyncio.sleep(0)
    SAID.append(("end", name))
    return name


@step(name="mutated.note", retry="none")
async def mutated_note(value: Any) -> Any:
    return value


@pytest.fixture
async def client(holdfast_client: Client) -> AsyncIterator[Client]:
    async with Worker(holdfast_client, []):
        yield holdfast_client


@st.composite
def conditional_dags(draw: st.DrawFn) -> dict[str, Any]:
    """Nodes with dependencies written in every way, conditions that hold or do not, and choices."""
    count = draw(st.integers(1, 12))
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, str]] = []
    for number in range(count):
        before = [f"n{one}" for one in range(number)]
        sources = draw(st.lists(st.sampled_from(before), unique=True, max_size=3)) if before else []
        arguments: dict[str, Any] = {"name": f"n{number}"}
        node: dict[str, Any] = {"id": f"n{number}", "type": "step", "depends_on": []}
        for source in sources:
            match draw(st.sampled_from(["field", "edge", "named"])):
                case "edge":
                    edges.append({"from": source, "to": node["id"]})
                case "named":
                    arguments["after"] = f"{{{{ {source} }}}}"
                    node["depends_on"].append(source)
                case _:
                    node["depends_on"].append(source)
        later = [f"n{one}" for one in range(number + 1, count)]
        if later and draw(st.integers(0, 5)) == 0:
            ways = draw(st.lists(st.sampled_from(later), min_size=1, max_size=3, unique=True))
            chosen = draw(st.booleans())
            node |= {"type": "switch", "config": {"cases": [{"when": str(chosen).lower(), "to": ways[:1]}]}}
            node["config"]["default"] = ways[1:]
        else:
            node["config"] = {"step": "properties.note", "arguments": arguments}
        if node["type"] == "step" and draw(st.integers(0, 3)) == 0:
            node["when"] = draw(st.sampled_from(["true", "false", *(f"{one} != null" for one in sources)]))
            node["when_unmet"] = draw(st.sampled_from(["skip", "skip_cascade"]))
        nodes.append(node)
    options = {"max_parallel": draw(st.integers(1, 4))}
    return {"name": "any", "nodes": draw(st.permutations(nodes)), "edges": edges, "options": options}


def expected(spec: DagSpec) -> dict[str, str]:
    """What becomes of each node, by the words of the guide: it runs, or is skipped as `node`, `branch` or `cascade`."""
    fate: dict[str, str] = {}
    refused: set[tuple[str, str]] = set()
    for number in range(len(spec.nodes)):
        node = spec.by_id[f"n{number}"]
        sources = spec.dependencies[node.id]
        fates = [fate[source] for source in sources]
        when = node.when or "true"
        holds = fate[when.split()[0]] == "runs" if "null" in when else when == "true"
        if "cascade" in fates:
            fate[node.id] = "cascade"
        elif any((source, node.id) in refused for source in sources) or set(fates) == {"branch"}:
            fate[node.id] = "branch"
        elif not holds:
            fate[node.id] = "cascade" if node.when_unmet == "skip_cascade" else "node"
        else:
            fate[node.id] = "runs"
            if node.type == "switch":
                [case] = node.config["cases"]  # type: ignore[misc]
                ways = (case["to"], node.config["default"])  # type: ignore[call-overload,index]
                refused |= {(node.id, way) for way in ways[case["when"] == "true"]}  # type: ignore[index]
    return fate


@few
@given(conditional_dags())
async def test_each_node_runs_once_after_what_it_depends_on_or_is_skipped(
    client: Client, document: dict[str, Any]
) -> None:
    SAID.clear()
    spec = load_value(document)
    fate = expected(spec)
    run = await client.start(spec)
    await run.result()
    nodes = (await run.state())["nodes"]
    shown = {id: node["skipped_as"] or node["state"] for id, node in nodes.items()}
    assert shown == {id: "completed" if what == "runs" else what for id, what in fate.items()}
    ran = {node.id for node in spec.nodes if node.type == "step" and fate[node.id] == "runs"}
    assert sorted(SAID) == sorted((what, id) for id in ran for what in ("begin", "end"))
    for id in ran:
        for source in set(spec.dependencies[id]) & ran:
            assert SAID.index(("end", source)) < SAID.index(("begin", id))


@few
@given(mutated_documents())
async def test_a_changed_document_is_refused_or_runs_to_an_end_that_is_explained(
    client: Client, document: dict[str, Any]
) -> None:
    try:
        spec = load_value(document)
        options = spec.options.model_copy(update={"timeout": timedelta(hours=1), "on_failure": "compensate"})
        run = await client.start(spec.model_copy(update={"options": options}), {"count": 3})
    except InvalidInput:
        return
    failed: RunFailed | None = None
    try:
        await run.result(timeout=timedelta(seconds=60))
    except RunFailed as exc:
        failed = exc
    assert failed is None or failed.error_type in EXPLAINED, failed


EXPLAINED = {"InvalidInput", "StepFailed", "RunFailed", "WaitTimeout", "BudgetExceeded", "RunTimedOut"}
"""The errors of ours with which a run may end; anything else would be one of our own mistakes."""
