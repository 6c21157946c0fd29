"""What a map does with each item, in the form in which it travels to child runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.engine.compensation import Undo
from holdfast.engine.dag.step_options import options_json, options_of_json
from holdfast.engine.data.in_workflow import encode_argument
from holdfast.engine.payloads import NULL, as_payload, object_of
from holdfast.options import StepOptions
from holdfast.spec.templates import names as template_names

OnError = Literal["fail_fast", "collect"]


@dataclass(frozen=True, kw_only=True)
class MapPlan:
    """What a map does with each item."""

    activity: str | None
    """The type of the activity that is called once per item. None: `config` is that of a `workflow` node, and each item
    is a child run."""

    label: str
    """Names the calls: `label[17]`."""

    step: str
    """What is called, for messages and for the options of what undoes it."""

    options: StepOptions
    concurrency: int
    on_error: OnError

    config: Mapping[str, Any] | None = None
    """Of a node: `{key: template}`, sent along with the values that it names. None: the item is the argument."""

    takes: Sequence[str] | None = None
    """The values that an executor gets as its input, beside item and index. None: it is no executor."""

    item_name: str = "item"

    resumed: bool = False
    """Whether somebody may try again what failed: then a failed item ends the map, but nothing that has begun is cut
    off, and what has completed is not done again."""

    undo: Mapping[str, Any] | None = None
    """What undoes one call: `activity`, and for a node `config` and `own`, its id."""

    @property
    def kind(self) -> str:
        """What a budget counts as one kind of call."""
        return self.activity or f"workflow:{self.label}"

    def arguments(self, item: Any, index: int, values: Mapping[str, Payload]) -> list[Payload]:
        """The arguments of the activity for one item."""
        if self.config is None:
            return [
                encode_argument(item, workflow.payload_converter(), where=f"Item {index} of {self.label!r}")
            ]
        named = self.named(item, index, values)
        takes = None if self.takes is None else [*self.takes, self.item_name, "index"]
        return [node_call(self.config, named, takes=takes), NULL]

    def undoing(self, item: Any, index: int, values: Mapping[str, Payload], call_id: str) -> Undo | None:
        """What undoes the call for one item."""
        if self.undo is None:
            return None
        if self.config is None:
            arguments = self.arguments(item, index, values)
        else:
            named = self.named(item, index, values)
            arguments = [node_call(self.undo["config"], named, own=self.undo["own"])]
        return Undo(
            name=self.undo["activity"],
            step=self.step,
            activity_id=f"compensate:{call_id}",
            arguments=arguments,
            queue=self.options.queue,
        )

    def named(self, item: Any, index: int, values: Mapping[str, Payload]) -> Mapping[str, Payload]:
        """The values that the call for one item may name."""
        where = f"Item {index} of {self.label!r}"
        mine = encode_argument(item, workflow.payload_converter(), where=where)
        return {**values, self.item_name: mine, "index": as_payload(index)}

    def names(self) -> set[str]:
        """The values beside item and index that the calls name."""
        found = {*(template_names(self.config) if self.config else ()), *(self.takes or ())}
        if self.undo and self.config:
            found |= template_names(self.undo["config"]) - {self.undo["own"]}
        return found - {self.item_name, "index"}

    def to_json(self, *, concurrency: int) -> dict[str, Any]:
        """As it travels to a child run, which gets its share of the concurrency."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "options": options_json(self.options), "concurrency": concurrency}

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Self:
        """The plan that `to_json` wrote."""
        fields: dict[str, Any] = {**document, "options": options_of_json(document["options"])}
        return cls(**fields)


def node_call(
    config: Mapping[str, Any],
    values: Mapping[str, Payload],
    *,
    own: str | None = None,
    takes: Sequence[str] | None = None,
    patch: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    earlier: Payload | None = None,
) -> Payload:
    """The first argument of a node's activity: its config as written, and the raw outputs that it names.

    Args:
        config: With its templates.
        values: What they may name.
        own: The node whose own output they may name, for what undoes it.
        takes: Of an executor: the outputs that are its input.
        patch: Of calls that follow from one another: what is different in this one.
        given: Arguments, or fields of an executor's config, in which nothing is a template.
        earlier: See `ExecutorContext.earlier`.
    """
    named = template_names(config) - ({own} if own else set())
    found = {name: values[name] for name in sorted(named) if name in values}
    parts = {key: as_payload(value) for key, value in config.items()}
    if takes is not None:
        parts["input"] = object_of({name: values[name] for name in takes})
    if patch is not None:
        parts["patch"] = as_payload(patch)
    if given:
        parts["given"] = as_payload(given)
    if earlier is not None:
        parts["earlier"] = earlier
    return object_of({**parts, "values": object_of(found), "own": as_payload(own)})
