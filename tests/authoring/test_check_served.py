"""Documents checked against what workers have published, by a process that has imported none of it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.test_merged_catalogue import NOW

from holdfast import step
from holdfast.authoring.catalogue import validate_here
from holdfast.authoring.registry import fresh_registry
from holdfast.catalogue import Build, Catalogue, Offer
from holdfast.spec.document import load_value
from holdfast.spec.finding import Finding

ARGUMENTS = {
    "type": "object",
    "properties": {"order": {"type": "integer"}, "mark": {"type": "string"}},
    "required": ["order"],
    "additionalProperties": False,
}
CONFIG = {
    "type": "object",
    "properties": {"to": {"type": "string"}},
    "required": ["to"],
    "additionalProperties": False,
}
BUILD = Build(
    name="may",
    build_id="may",
    deployment=None,
    hash="h",
    holdfast="1",
    queues=["default"],
    workers=[],
    started=NOW,
    seen=NOW,
)
SERVED = Catalogue(
    builds=[BUILD],
    workflows=[Offer(name="ship", queues=["default"])],
    steps=[
        Offer(name="charge", queues=["default"], input_schema=ARGUMENTS, aliases=["bill"]),
        Offer(name="large", queues=["default"], input_schema=None),
    ],
    executors=[Offer(name="mail", queues=["default"], input_schema=CONFIG)],
)


def findings(
    kind: str, config: dict[str, Any], served: Catalogue | None = SERVED, **more: Any
) -> list[Finding]:
    node = {"id": "a", "type": kind, "config": config, **more}
    with fresh_registry():
        return validate_here(load_value({"name": "checked", "nodes": [node]}), served=served)


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"step": name, "arguments": arguments}


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("step", call("charge", order=1)),
        ("step", call("bill", order="{{ input }}", mark="x")),
        ("step", call("charge", order="1")),  # which a worker reads as a number
        ("step", call("charge.compensate", order=1)),
        ("step", call("large", anything=1)),
        ("mail", {"to": "{{ input }}"}),
        ("workflow", {"workflow": "ship"}),
    ],
)
def test_what_workers_serve_is_valid(kind: str, config: dict[str, Any]) -> None:
    assert findings(kind, config) == []


@pytest.mark.parametrize(
    ("kind", "config", "path", "says"),
    [
        ("step", call("charge", orders=1), "nodes[0].config.arguments", "orders"),
        ("step", call("charge"), "nodes[0].config.arguments", "order"),
        ("mail", {"to": 1}, "nodes[0].config.to", "text"),
        ("mail", {"too": "x", "to": "y"}, "nodes[0].config", "too"),
    ],
)
def test_what_does_not_fit_is_an_error(kind: str, config: dict[str, Any], path: str, says: str) -> None:
    found = findings(kind, config)
    assert {one.code for one in found} == {"HF-D031"}
    assert {one.severity for one in found} == {"error"}
    assert found[0].path.startswith(path)
    assert says in found[0].message
    assert findings(kind, config, served=None) == [], "nothing else would have found it"


@pytest.mark.parametrize(
    ("kind", "config", "near"),
    [
        ("step", call("chargee"), "'charge'"),
        ("mailer", {"x": 1}, "'mail'"),
        ("workflow", {"workflow": "shipp"}, "'ship'"),
    ],
)
def test_what_nobody_has_published_is_a_warning(kind: str, config: dict[str, Any], near: str) -> None:
    [found] = findings(kind, config)
    assert (found.code, found.severity) == ("HF-D034", "warning")
    assert near in found.fix
    assert findings(kind, config, served=Catalogue()) == [], "where nothing is published, nothing is known"


def test_compensations_are_checked_too() -> None:
    undo = {"type": "step", "config": call("refunds")}
    [found] = findings("step", call("charge", order=1), compensate=undo)
    assert (found.code, found.path) == ("HF-D034", "nodes[0].compensate.config.step")


def test_what_this_process_knows_counts_more() -> None:
    with fresh_registry():

        @step(name="charge")
        async def here(other: int) -> int:
            return other

        node = {"id": "a", "type": "step", "config": call("charge", other=1)}
        assert validate_here(load_value({"name": "checked", "nodes": [node]}), served=SERVED) == []
