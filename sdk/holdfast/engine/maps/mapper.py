"""Runs a map: few items in the run itself, many in child runs, so that no history grows long and every run answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from holdfast.engine.budget import Budget
from holdfast.engine.calls import Calls
from holdfast.engine.children import MAP_WORKFLOW, child_run_id
from holdfast.engine.compensation import Undo
from holdfast.engine.dag.subflow import call_workflow
from holdfast.engine.data.in_workflow import encode_argument
from holdfast.engine.data.refs import Ref
from holdfast.engine.data.step_data import NODE_REF_BYTES, REF_BYTES
from holdfast.engine.data.values import is_object
from holdfast.engine.ending import ended
from holdfast.engine.failures import outcome_unknown
from holdfast.engine.maps.data import JOIN, KEEP, KEPT_BYTES, LOAD
from holdfast.engine.maps.plan import MapPlan
from holdfast.engine.maps.result import Failed, PartResult
from holdfast.engine.payloads import NULL, as_payload, list_of, object_of, plain, take_usage
from holdfast.engine.slots import Slots
from holdfast.errors import InvalidInput, RunFailed, StepFailed
from holdfast.options import StepOptions
from holdfast.spec.check_constants import MAX_ITEMS

_ITEMS, _LOCAL_ITEMS, _CHILD_ITEMS = 300, 500, 150
"""Items that one run calls itself, so that its history stays under 2,000 events whatever their order: a step takes up
to six, a local one about one, a child run nine."""

_CHILDREN = 150
"""Child runs that one run starts; above that, there is a level of runs between."""

CHUNKS = "chunks"
"""The member of what a child run is given that holds many chunks: how many items each has, and it or a Ref to it."""

RUN, UNDO = "run", "undo"
"""What a child run does with its part."""

_INLINE_BYTES = 1024 * 1024
"""Outputs of a whole map over this size go to the storage."""

_LANES = 4
"""Child runs of one map that are open at a time, between which its concurrency is shared."""


class Mapper:
    """One map in one run. It remembers what has completed: `run` may be called again after a failure.

    Args:
        calls: How the run calls steps and children.
        plan: What is done with each item.
        values: The raw values beside the item that the calls name.
        budget: Of the run, shared with others. Default: one that only counts.
        slots: The places of the run, shared with others.
        urgency: Against others that wait for a place.
        progress: Called with how many items have completed so far.
        inner: Whether it does a part of a map of another run, to which it tells how far it came.

    Attributes:
        failed: The items that failed, by position.
        rest: The first position and the number of items that were not begun, where one failed.
    """

    def __init__(
        self,
        calls: Calls,
        plan: MapPlan,
        values: Mapping[str, Payload],
        *,
        budget: Budget | None = None,
        slots: Slots | None = None,
        urgency: float = 0.0,
        progress: Callable[[int], None] = lambda done: None,
        inner: bool = False,
    ) -> None:
        self.plan = plan
        self.failed: dict[int, Failed] = {}
        self.rest: list[tuple[int, int]] = []
        self.done = 0
        self._inner = inner
        self._stopping = False
        self._budget = budget or Budget()
        self._calls = calls
        self._values = values
        self._slots = slots or Slots(plan.concurrency)
        self._urgency = urgency
        self._progress = progress
        self._outputs: dict[int, Payload] = {}
        self._parts: dict[int, Any] = {}
        self._before: PartResult | None = None
        self._unfinished: dict[int, Mapping[str, Any]] = {}
        self._undo_of: dict[int, Undo] = {}

    @property
    def usage(self) -> Mapping[str, float]:
        """What was used up, by unit."""
        return self._budget.usage

    @property
    def leaf_items(self) -> int:
        """How many items one run calls itself."""
        if self.plan.activity is None:
            return _CHILD_ITEMS
        # What is to be undone runs as a plain step, whatever its options say.
        return _LOCAL_ITEMS if self.plan.options.local and self.plan.undo is None else _ITEMS

    def calls_of(self, total: int) -> int:
        """How many steps or child runs this run itself calls for so many items."""
        return total if total <= self.leaf_items else min(_CHILDREN, -(-total // self.leaf_items))

    async def run(self, items: Sequence[Any], first: int = 0) -> Payload:
        """Do it with every item.

        Args:
            items: The items; a range is not written out.
            first: The position of the first one in the whole map.

        Returns:
            A list of the outputs in the order of the items; null for a failed one of a map that collects. Its
            members are as they came.

        Raises:
            StepFailed: An item failed, and the map does not collect.
            InvalidInput: There are too many items.
        """
        if len(items) > MAX_ITEMS:
            raise InvalidInput(
                f"the map {self.plan.label!r} has {len(items):,} items; at most {MAX_ITEMS:,} are run"
            )
        if len(items) <= self.leaf_items:
            return await self._all(items, first)
        size = self.leaf_items
        while len(items) > size * _CHILDREN:
            size *= _CHILDREN
        parts = [(start, items[start : start + size]) for start in range(0, len(items), size)]
        return await self._spread([(first + start, len(part), part) for start, part in parts])

    async def run_chunks(self, chunks: Sequence[Sequence[Any]], first: int = 0) -> Payload:
        """Do it with the items of a list that lies in the storage.

        Args:
            chunks: For each part of it, how many items it has, and the part or a Ref to it.
            first: The position of the first one in the whole map.
        """
        parts: list[tuple[int, int, Any]] = []
        size = 1
        while len(chunks) > size * _CHILDREN:
            size *= _CHILDREN
        start = first
        for begin in range(0, len(chunks), size):
            group = chunks[begin : begin + size]
            count = sum(count for count, _ in group)
            parts.append((start, count, group[0][1] if size == 1 else {CHUNKS: group}))
            start += count
        return await self._spread(parts)

    async def run_part(self, items: Any, first: int) -> Payload:
        """Do it with the items that a child run was given: a list, how many numbers from `first` on, a Ref to a list,
        or the chunks of one."""
        if is_object(items):
            return await self.run_chunks(items[CHUNKS], first)
        return await self.run(await self.load(items, first), first)

    def resume(self, result: Mapping[str, Any], outputs: Sequence[Any]) -> None:
        """Go on where another run of the same part ended, of which this is the result, with these outputs."""
        self._before = PartResult(result, outputs)

    async def load(self, items: Any, first: int) -> Sequence[Any]:
        """The items of a part that are not in chunks."""
        if isinstance(items, int):
            return range(first, first + items)
        if not isinstance(items, Ref):
            return items  # type: ignore[no-any-return]
        asked = encode_argument(items, workflow.payload_converter())  # pyright: ignore[reportUnknownArgumentType]
        found = await self._calls.call(LOAD, self._calls.own(LOAD), [asked], StepOptions())
        return plain(found, "The items of a map")  # type: ignore[no-any-return]

    async def keep(self, outputs: Payload) -> Payload:
        """The outputs, or a Ref to them where they are too many to go through the run above."""
        if len(outputs.data) <= KEPT_BYTES:
            return outputs
        return await self._calls.call(KEEP, self._calls.own(KEEP), [outputs], StepOptions())

    # In this run

    async def _all(self, items: Sequence[Any], first: int) -> Payload:
        places = Slots(self.plan.concurrency)
        converter = workflow.payload_converter()
        for index in range(len(items) if self._before else 0):
            if self._before and self._before.completed(index, first):
                self._outputs[index] = encode_argument(self._before.outputs[index], converter)

        async def one(index: int) -> None:
            async with places.hold(), self._slots.hold(self._urgency):
                if self._stopping:
                    self.rest.append((first + index, 1))
                    self._outputs[index] = NULL
                    return
                await self._budget.admit(self.plan.kind, f"item {first + index} of {self.plan.label!r}")
                self._outputs[index] = await self._one(items[index], first + index)
            self._count(1)

        await _together(one(index) for index in range(len(items)) if index not in self._outputs)
        return list_of((self._outputs[index] for index in range(len(items))), self.plan.label)

    async def _one(self, item: Any, index: int) -> Payload:
        try:
            return await self._call(item, index, f"{self.plan.label}[{index}]")
        except (StepFailed, RunFailed) as exc:
            if self.plan.on_error == "fail_fast":
                if not (self._inner and self.plan.resumed):
                    raise
                self._stopping = True
            self.failed[index] = Failed(
                message=exc.message, error_type=exc.error_type, unknown=outcome_unknown(exc)
            )
            return NULL

    async def _call(self, item: Any, index: int, label: str) -> Payload:
        call_id = self._calls.numbered(label)
        plan = self.plan
        undo = plan.undoing(item, index, self._values, call_id)
        if undo is not None:
            undo.caller = asyncio.current_task()
        with self._budget.hold(plan.kind) as used:
            if plan.activity is None:
                named = plan.named(item, index, self._values)
                config = plan.config or {}
                return await call_workflow(self._calls, config, named, label=call_id, undo=undo, used=used)
            payloads = plan.arguments(item, index, self._values)
            output = await self._calls.call(
                plan.activity, call_id, payloads, plan.options, undo=undo, step=label
            )
            return take_usage(output, used)

    # In child runs

    async def _spread(self, parts: Sequence[tuple[int, int, Any]]) -> Payload:
        lanes = min(_LANES, self.plan.concurrency, len(parts))
        start = parts[0][0] if parts else 0
        for first, count, _ in parts if self._before else ():
            assert self._before is not None
            before = self._before.part(first - start, count, start)
            if before["failed"] or before["rest"]:
                self._unfinished[first] = before
            else:
                self._parts[first] = before["outputs"]
        waiting = iter([part for part in parts if part[0] not in self._parts])

        async def lane(share: int) -> None:
            for first, count, items in waiting:
                if self._stopping:
                    self.rest.append((first, count))
                    self._parts[first] = [None] * count
                    continue
                async with self._slots.hold(self._urgency, share):
                    where = f"part {first} to {first + count - 1} of {self.plan.label!r}"
                    await self._budget.admit(self.plan.kind, where, count)
                    with self._budget.hold(self.plan.kind, count) as used:
                        self._parts[first] = await self._part(first, count, items, share, used)
                if first not in self._unfinished:
                    self._count(count)

        whole, more = divmod(self.plan.concurrency, lanes)
        await _together(lane(whole + (number < more)) for number in range(lanes))
        if self._stopping and not self._inner:
            raise self._stopped()
        return await self._joined([self._parts[first] for first, _, _ in parts])

    def _stopped(self) -> StepFailed:
        """The failure of a map that somebody may try again; what is not complete is forgotten."""
        for first in [*self._unfinished, *(first for first, _ in self.rest)]:
            del self._parts[first]
        failed = self.failed[min(self.failed)]
        self.failed.clear()
        self.rest.clear()
        self._stopping = False
        return StepFailed(failed.message, step=self.plan.label, error_type=failed.error_type)

    async def _part(self, first: int, count: int, items: Any, share: int, used: dict[str, float]) -> Any:
        from holdfast.engine.maps.flow import map_workflow  # which itself stands on this module

        plan, where = self.plan, f"Part {first} of map {self.plan.label!r}"
        named = object_of({name: self._values[name] for name in sorted(plan.names()) if name in self._values})
        sent = count if isinstance(items, range) else items
        payloads = [
            self._calls.encode(plan.to_json(concurrency=share), None, where),
            named,
            self._calls.encode(sent, None, where),
            as_payload(first),
        ]
        child_id = child_run_id(workflow.info().workflow_id, self._calls.numbered(f"{plan.label}:{first}"))
        undo: Undo | None = None
        if plan.undo is not None:
            if first in self._undo_of:  # this part goes on: it is undone as a whole
                self._calls.compensations.drop(self._undo_of[first])
            undo = Undo(
                name=MAP_WORKFLOW,
                step=plan.step,
                activity_id=child_run_id(child_id, "undo"),
                arguments=[as_payload(UNDO), *payloads],
                queue=None,
                caller=asyncio.current_task(),
            )
            self._undo_of[first] = undo
        known = self._calls.encode(self._unfinished.pop(first, None), None, where)
        try:
            raw = await self._calls.start_child(
                map_workflow, child_id, [as_payload(RUN), *payloads, known], undo=undo
            )
        except RunFailed as exc:
            message = exc.message.removeprefix(f"child run {child_id!r} failed: ")
            raise StepFailed(message, step=plan.label, error_type=exc.error_type) from exc.__cause__
        result = plain(raw.payload, where)
        assert is_object(result)
        for index, failed in result["failed"].items():
            self.failed[int(index)] = Failed(**failed)
        used.update(result["usage"])
        if result["rest"] or (result["failed"] and plan.on_error == "fail_fast"):
            self._stopping = True
            self._unfinished[first] = result
            if self._inner:
                self.rest += [(start, number) for start, number in result["rest"]]
        return result["outputs"]

    async def _joined(self, parts: Sequence[Any]) -> Payload:
        converter, where = workflow.payload_converter(), f"The outputs of {self.plan.label!r}"
        if not any(isinstance(part, Ref) for part in parts):
            together = encode_argument([item for part in parts for item in part], converter, where=where)
            if len(together.data) <= _INLINE_BYTES:
                return together
        # To code, a list that it can look at goes as it is.
        ref_bytes = REF_BYTES if self.plan.config is None else NODE_REF_BYTES
        asked = {
            "chunks": encode_argument(list(parts), converter, where=where),
            "ref_bytes": as_payload(ref_bytes),
        }
        call_id = self._calls.numbered(f"{JOIN}:{self.plan.label}")
        return await self._calls.call(JOIN, call_id, [object_of(asked)], StepOptions())

    def _count(self, items: int) -> None:
        self.done += items
        self._progress(self.done)


async def _together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all; when one fails, end the others, and wait for their end, before it is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    except (Exception, asyncio.CancelledError):
        await ended(tasks)
        raise
