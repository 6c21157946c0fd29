"""Workflows that pass values on by hand, as the generated class does. The sandbox imports this file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter
from temporalio import activity, workflow
from temporalio.common import RawValue, RetryPolicy

from holdfast.engine.data.in_workflow import decode_in_workflow, encode_argument
from holdfast.engine.data.refs import Ref
from holdfast.engine.data.step_data import StepData
from holdfast.errors import NotInWorkflow


class Row(BaseModel):
    id: int
    text: str


ROWS = TypeAdapter(list[Row])
PARTS = TypeAdapter(list[list[Row]])
NUMBER = TypeAdapter(int)
TEXT = TypeAdapter(str)


@dataclass
class Steps:
    """Steps on `StepData`, as the step layer has them."""

    data: StepData
    count: int = 100

    @activity.defn
    async def load(self) -> RawValue:
        rows = [Row(id=number, text="x" * 1000) for number in range(self.count)]
        return RawValue(await self.data.encode_result(rows, ROWS, step="load"))

    @activity.defn
    async def count_rows(self, raw: RawValue) -> RawValue:
        rows = await self.data.decode(raw.payload, ROWS, where="Argument 'rows'")
        return RawValue(await self.data.encode_result(len(rows), NUMBER, step="count_rows"))

    @activity.defn
    async def count_parts(self, raw: RawValue) -> RawValue:
        parts = await self.data.decode(raw.payload, PARTS, where="Argument 'parts'")
        return RawValue(await self.data.encode_result(sum(map(len, parts)), NUMBER, step="count_parts"))

    @activity.defn
    async def fail(self) -> None:
        raise ValueError("the secret reason")


async def _step(name: str, adapter: TypeAdapter[Any], *values: object) -> Any:
    converter = workflow.payload_converter()
    raw = await workflow.execute_activity(
        name,
        args=[RawValue(encode_argument(value, converter)) for value in values],
        result_type=RawValue,
        start_to_close_timeout=timedelta(seconds=60),
        retry_policy=RetryPolicy(maximum_attempts=1),
    )
    return decode_in_workflow(raw.payload, adapter, converter)


@workflow.defn
class Chain:
    @workflow.run
    async def run(self) -> RawValue:
        rows = await _step("load", ROWS)
        what = type(rows).__name__
        if isinstance(rows, Ref):
            try:
                await rows.load()
            except NotInWorkflow:
                what += " that does not load here"
        count = await _step("count_rows", NUMBER, rows)
        return RawValue(
            encode_argument({"what": what, "count": count, "rows": rows}, workflow.payload_converter())
        )


@workflow.defn
class Gather:
    @workflow.run
    async def run(self) -> int:
        parts = [await _step("load", ROWS) for _ in range(3)]
        count: int = await _step("count_parts", NUMBER, parts)
        return count


@workflow.defn
class Greet:
    """Waits for a signal, so that it is open while its keys are changed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @workflow.run
    async def run(self, greeting: str) -> str:
        await workflow.wait_condition(lambda: bool(self.names))
        return f"{greeting} {self.names[0]}"

    @workflow.signal
    def name(self, name: str) -> None:
        self.names.append(name)


@workflow.defn
class Failing:
    @workflow.run
    async def run(self) -> None:
        await _step("fail", TEXT)
