"""What stands in the guide to DAGs can be copied and run."""

from __future__ import annotations

import ast
import inspect
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast import Client, Worker, step
from holdfast.authoring.dag import Dag
from holdfast.spec.model import DagSpec
from holdfast.testing import mock_step

PAGE = (Path(__file__).parents[1] / "docs" / "guide" / "dags.md").read_text("utf-8")
DOCUMENTS = re.findall(r"```yaml\n(name: .*?)```", PAGE, re.DOTALL)


@step
async def guide_measure(city: str) -> float:
    return float(len(city))


@step
async def guide_forecast(day: int) -> str:
    return f"day {day}"


@step
async def guide_praise() -> None: ...


def snippet(start: str) -> str:
    """The Python snippet that begins so."""
    found: list[str] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    return next(text for text in found if text.startswith(start))


async def run(text: str, names: dict[str, Any]) -> dict[str, Any]:
    """Execute a snippet, `await` included."""
    scope = {"__name__": __name__, **names}
    code = compile(text, "dags.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if inspect.iscoroutine(done := eval(code, scope)):
        await done
    return scope


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda text: text.split("\n")[0])
def test_every_document_is_one(document: str) -> None:
    Dag.load(document)


async def test_the_first_example_and_its_document_are_the_same_and_run_on_nothing(
    holdfast_client: Client,
) -> None:
    made = await run(snippet("from holdfast import Dag"), {"Source": str, "Row": dict[str, Any]})
    etl, spec = made["etl"], made["spec"]
    assert isinstance(spec, DagSpec)
    written = next(text for text in DOCUMENTS if text.startswith("name: etl"))
    assert Dag.load(written).compile().content_hash == spec.content_hash
    with mock_step(made["fetch"], []), mock_step(made["clean"], []):
        async with Worker(holdfast_client, [made["fetch"]]):
            names = {"client": holdfast_client, "etl": etl, "source": "nothing"}
            done = await run(snippet("run = await client.start"), names)
            assert done["rows"] is None
            assert (await done["run"].state())["nodes"]["notify"]["state"] == "skipped"
    shown = await run(snippet("from holdfast.spec.diagram"), {"spec": spec, "print": str})
    assert "fetch" in shown["to_text"](shown["of_spec"](spec))


async def test_what_is_built_at_run_time_is_a_dag() -> None:
    steps = {"measure": guide_measure, "forecast": guide_forecast, "praise": guide_praise}
    made = await run(snippet("def reports"), {"Dag": Dag, "timedelta": timedelta, **steps})
    spec: DagSpec = made["reports"](["Oslo", "Rome"]).compile()
    assert {"city_0", "city_1", "days", "warm", "praise", "agree", "morning"} == set(spec.by_id)
