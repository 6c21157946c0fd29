"""`DagSpec`: a workflow as a document. Frozen; unknown fields are errors; durations are `timedelta` in Python.

A spec that exists is well formed. Whether it makes sense as a graph is what `holdfast.spec.validate` says.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from holdfast.options import NAMED_RETRIES, RetryPolicy
from holdfast.spec.duration import Duration
from holdfast.spec.plain import JsonObject

Expression: TypeAlias = Annotated[str, Field(min_length=1, max_length=16_384)]
"""A CEL expression."""

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]

WhenUnmet: TypeAlias = Literal["skip", "skip_cascade", "fail"]
WhenExhausted: TypeAlias = Literal["fail", "skip", "skip_cascade"]
WhenExceeded: TypeAlias = Literal["pause", "fail"]
OnFailure: TypeAlias = Literal["compensate", "fail", "pause"]
OnError: TypeAlias = Literal["fail_fast", "collect"]


class Document(BaseModel):
    """The base of every part of a document: frozen, and unknown fields are errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_by_alias=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
    )

    def document(self, *, complete: bool = False) -> dict[str, Any]:
        """The plain JSON form.

        Args:
            complete: Also write the fields that have their default, so that a later default changes nothing. That is
                how a run pins its spec.
        """
        return self.model_dump(
            mode="json", by_alias=True, exclude_defaults=not complete, exclude_none=complete
        )


class RetrySpec(Document):
    """How a failed node is tried again. In a document also the name of a policy: `retry: patient`."""

    max_attempts: int = Field(default=3, ge=0, le=1_000_000)
    """Attempts in all, the first one included. 0 means without limit."""
    first_delay: Duration = timedelta(seconds=1)
    """Time between the first failure and the second attempt."""
    backoff: float = Field(default=2.0, ge=1, le=1000)
    """Each further delay is the last one times this."""
    max_delay: Duration = timedelta(seconds=60)
    """No delay is longer than this."""
    jitter: float = Field(default=0.1, ge=0, le=1)
    """Each delay is changed at random by up to this share."""
    non_retryable: tuple[Name, ...] = ()
    """Class names of exceptions that end the node at once."""

    @model_validator(mode="after")
    def _delays_fit(self) -> RetrySpec:
        if self.max_delay < self.first_delay:
            raise ValueError("max_delay is shorter than first_delay")
        return self

    @classmethod
    def of(cls, policy: RetryPolicy) -> RetrySpec:
        """The document form of a `RetryPolicy`."""
        return cls(
            max_attempts=policy.max_attempts,
            first_delay=policy.first_delay,
            backoff=policy.backoff,
            max_delay=policy.max_delay,
            jitter=policy.jitter,
            non_retryable=tuple(policy.non_retryable_names),
        )

    @property
    def policy(self) -> RetryPolicy:
        """The same as a `RetryPolicy`."""
        return RetryPolicy(
            max_attempts=self.max_attempts,
            first_delay=self.first_delay,
            backoff=self.backoff,
            max_delay=self.max_delay,
            jitter=self.jitter,
            non_retryable=self.non_retryable,
        )


def _named_retry(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in NAMED_RETRIES:
        raise ValueError(
            f"retry {value!r} is not known; use one of {', '.join(NAMED_RETRIES)}, or its fields"
        )
    return RetrySpec.of(NAMED_RETRIES[value])


class MapSpec(Document):
    """Runs the node once per item of a list; its output is the list of results, in the order of the items."""

    over: Expression
    """A list, or a count: 5 stands for the items 0 to 4."""
    item_name: str = "item"
    """The name that the node's config uses for the item. `index` is its position."""
    concurrency: int = Field(default=50, ge=1, le=500)
    """How many items run at the same time."""
    on_error: OnError = "fail_fast"
    """`fail_fast`: the first failed item fails the node. `collect`: all items run, and a failed one is `null` in the
    output."""


class LoopSpec(Document):
    """Runs the node again while a condition holds; its output is that of the last run."""

    while_: Expression = Field(validation_alias="while", serialization_alias="while")
    """Evaluated after each run. The node's own id is the last output, `iteration` the number of runs so far."""
    max_iterations: int = Field(ge=1, le=100_000)
    """The loop fails when the condition still holds after so many runs."""


class CompensateSpec(Document):
    """What undoes the node when the run ends failed or cancelled."""

    type: Name
    """An executor."""
    config: JsonObject = {}
    """Its config. The node's own id is the node's output: `null` when the outcome is unknown."""


class NodeSpec(Document):
    """One step of a DAG."""

    id: Name
    """The name that expressions, edges and the history use: a CEL identifier of at most 64 characters."""
    name: Name | None = None
    """What people read. Default: the id."""
    type: Name
    """An executor (`step`, `http`, ...), or `switch`, `wait`, `approval`, `timer`, `workflow`."""
    config: JsonObject = {}
    """What the executor is to do. Inside strings `{{ }}` holds an expression."""
    depends_on: tuple[str, ...] = ()
    """The nodes whose end it waits for and whose outputs it may use."""
    when: Expression | None = None
    """It runs only if this is true."""
    when_unmet: WhenUnmet = "skip"
    """If it is not: `skip` leaves an output of `null`, `skip_cascade` skips all that depends on it too, `fail`
    fails the run."""
    map: MapSpec | None = None
    retry: Annotated[
        RetrySpec | None, BeforeValidator(_named_retry, json_schema_input_type=RetrySpec | str | None)
    ] = None
    """Default: the executor's or the step's own."""
    timeout: Duration | None = None
    """How long one attempt may take; for `wait` and `approval`, how long it waits. Default: the executor's or the
    step's own."""
    local: bool | None = None
    """Whether it runs inside the workflow task. Default: the executor's or the step's own."""
    compensate: CompensateSpec | None = None
    when_exhausted: WhenExhausted = "fail"
    """When its attempts are used up: fail the run, or go on as after an unmet `when`."""
    loop: LoopSpec | None = None

    @property
    def title(self) -> str:
        """What people read: its name, or its id."""
        return self.name or self.id


class EdgeSpec(Document):
    """A dependency: `to` waits for `from`. The same as naming `from` in the `depends_on` of `to`."""

    source: str = Field(validation_alias="from", serialization_alias="from")
    target: str = Field(validation_alias="to", serialization_alias="to")


class BudgetSpec(Document):
    """What one run may use up. Before a call beyond it, the run waits for a person to raise it."""

    max_cost_usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Money that the executors report, in US dollars."""
    max_tokens: int | None = Field(default=None, gt=0)
    """Tokens that the executors report, in and out."""
    max_calls: int | None = Field(default=None, gt=0)
    """Calls of steps and executors; each item, page and run of a loop is one."""
    max_time: Duration | None = None
    """Time of calls, added up."""
    when_exceeded: WhenExceeded = "pause"
    """`pause`: wait for the decision `budget`. `fail`: end the run with `BudgetExceeded`."""


class DagOptions(Document):
    """How a run of the DAG behaves."""

    max_parallel: int = Field(default=100, ge=1, le=500)
    """How many nodes and items run at the same time."""
    timeout: Duration | None = None
    """How long a run may take. Default: no limit."""
    on_failure: OnFailure = "compensate"
    """When a node fails the run: undo what has completed, only fail, or pause until somebody retries or skips it."""
    budget: BudgetSpec | None = None


class DagSpec(Document):
    """A workflow as a document.

    Two specs are equal when they mean the same: neither the order of nodes nor whether a dependency is written as an
    edge or in `depends_on` makes a difference. `content_hash` follows the same rule.
    """

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._:-]+$")]
    """The workflow's name."""
    description: Annotated[str, Field(max_length=10_000)] | None = None
    input_schema: JsonObject | None = None
    """A JSON Schema that the input of a run must satisfy."""
    variables: JsonObject = {}
    """Constants that expressions reach as `variables.<name>`."""
    nodes: tuple[NodeSpec, ...]
    edges: tuple[EdgeSpec, ...] = ()
    output: Expression | None = None
    """The run's result. Default: the outputs of the nodes that nothing depends on, by id; the output itself if there
    is only one."""
    options: DagOptions = DagOptions()

    @functools.cached_property
    def by_id(self) -> Mapping[str, NodeSpec]:
        """The nodes by id. Of two with one id, which is an error that `validate` finds, the first."""
        found: dict[str, NodeSpec] = {}
        for node in self.nodes:
            found.setdefault(node.id, node)
        return found

    @functools.cached_property
    def dependencies(self) -> Mapping[str, tuple[str, ...]]:
        """What each node waits for: `depends_on`, edges and the cases of `switch` nodes taken together, sorted,
        each once. Ids that no node has are kept."""
        merged: dict[str, set[str]] = {}
        for node in self.nodes:
            merged.setdefault(node.id, set()).update(node.depends_on)
        for edge in self.edges:
            merged.setdefault(edge.target, set()).add(edge.source)
        for node in self.nodes:
            if node.type == "switch":
                for target in switch_targets(node):
                    merged.setdefault(target, set()).add(node.id)
        return {node_id: tuple(sorted(sources)) for node_id, sources in merged.items()}

    def canonical(self) -> dict[str, Any]:
        """The one plain form of everything that means the same: no edges, sorted `depends_on`, nodes by id."""
        document = self.document()
        document.pop("edges", None)
        nodes: list[dict[str, Any]] = sorted(document["nodes"], key=lambda node: str(node["id"]))
        seen: set[str] = set()
        for node in nodes:
            node.pop("depends_on", None)
            if node["type"] == "switch" and "config" in node:
                node["config"] = _canonical_switch(node["config"])
            if node["id"] not in seen and (sources := self.dependencies[node["id"]]):
                node["depends_on"] = list(sources)
            seen.add(node["id"])
        document["nodes"] = nodes
        dangling = {target: sources for target, sources in self.dependencies.items() if target not in seen}
        if dangling:
            document["dangling"] = dangling
        return document

    @functools.cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def __copy__(self) -> Self:
        copied = super().__copy__()
        # What was derived from the original does not hold for `model_copy(update=...)`.
        for name in vars(copied).keys() - type(self).model_fields.keys():
            del vars(copied)[name]
        return copied

    def __eq__(self, other: object) -> bool:
        return self.content_hash == other.content_hash if isinstance(other, DagSpec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.content_hash)


def switch_targets(node: NodeSpec) -> tuple[str, ...]:
    """The nodes that a `switch` node may choose: those that its cases and its default name."""
    cases = node.config.get("cases")
    branches: list[JsonValue] = [node.config.get("default")]
    if isinstance(cases, list):
        branches += [case.get("to") for case in cases if isinstance(case, dict)]
    found: dict[str, None] = {}
    for branch in branches:
        for target in branch if isinstance(branch, list) else [branch]:
            if isinstance(target, str):
                found[target] = None
    return tuple(found)


def _canonical_switch(config: Mapping[str, Any]) -> dict[str, Any]:
    """One node is a list of one, and no default is an empty one."""
    made = {key: value for key, value in config.items() if key != "default" or value != []}
    if isinstance(default := made.get("default"), str):
        made["default"] = [default]
    cases: JsonValue = made.get("cases")
    if isinstance(cases, list):
        made["cases"] = [_canonical_case(case) for case in cases]
    return made


def _canonical_case(case: JsonValue) -> JsonValue:
    if isinstance(case, dict) and isinstance(to := case.get("to"), str):
        return {**case, "to": [to]}
    return case


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a DAG document."""
    schema = DagSpec.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
