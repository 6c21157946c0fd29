"""A small language, interpreted; statements are data."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import workflow


@dataclass
class Sequence:
    elements: list[Statement]


@dataclass
class Parallel:
    branches: list[Statement]


@dataclass
class Call:
    name: str
    arguments: list[str] = field(default_factory=list)
    result: str | None = None


Statement = Sequence | Parallel | Call


@dataclass
class Program:
    root: Statement
    variables: dict[str, Any] = dataclasses.field(default_factory=dict)


@workflow.defn
class Interpreter:
    @workflow.run
    async def run(self, program: Program) -> dict[str, Any]:
        self.variables = dict(program.variables)
        await self.execute(program.root)
        return self.variables

    async def execute(self, statement: Statement) -> None:
        match statement:
            case Sequence(elements=elements):
                for element in elements:
                    await self.execute(element)
            case Parallel(branches=branches):
                await asyncio.gather(*[self.execute(branch) for branch in branches])
            case Call(name=name, arguments=arguments, result=result):
                value = await workflow.execute_activity(
                    name,
                    args=[self.variables.get(argument, "") for argument in arguments],
                    start_to_close_timeout=timedelta(minutes=1),
                )
                if result:
                    self.variables[result] = value
