"""What the arguments of a run of a DAG say: its document, and its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue
from temporalio.api.common.v1 import Payload

from holdfast.engine.history.facts import Timeline
from holdfast.engine.history.payloads import Opened
from holdfast.engine.inbox import DAG_MEMO

_BUDGET = "budget"
"""The approval that a run waits for whose budget is used up."""


class DagFacts:
    """What a run of a DAG was started with.

    Args:
        line: The run's timeline.
        opened: The payloads that a codec had to open.

    Attributes:
        document: The DAG; empty where it lies in storage.
        inputs: What the run got, without the document.
    """

    def __init__(self, line: Timeline, opened: Opened) -> None:
        arguments: Sequence[Payload] = line.start.input.payloads if line.start is not None else ()
        document = opened.json(arguments[0]) if arguments else None
        self.document = document if isinstance(document, dict) else {}
        self.inputs = arguments[1:2]
        self._noted = opened.json(line.memo.get(DAG_MEMO))

    @property
    def name(self) -> str | None:
        """What the DAG is called."""
        name = self._noted or self.document.get("name")
        return name if isinstance(name, str) else None

    @property
    def listens_to(self) -> list[str] | None:
        """The messages and approvals that its nodes wait for at some time; None where the document is not known."""
        return sorted({*_names(self.document)}) if self.document else None

    @property
    def asks_after_failures(self) -> bool:
        """Whether a node that fails waits for somebody to decide."""
        return _object(self.document.get("options")).get("on_failure") == "pause"


def _names(document: Mapping[str, JsonValue]) -> Iterator[str]:
    nodes = document.get("nodes")
    for node in map(_object, nodes if isinstance(nodes, list) else ()):
        config = _object(node.get("config"))
        if node.get("type") == "wait":
            yield str(config.get("event"))
        elif node.get("type") == "approval":
            yield str(config.get("name", node.get("id")))
    if _object(_object(document.get("options")).get("budget")).get("when_exceeded", "") == "pause":
        yield _BUDGET


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}
