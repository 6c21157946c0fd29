"""A small language whose statements are kept in a set."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import workflow


@dataclass
class Program:
    root: str
    names: set[str] = field(default_factory=set)


@workflow.defn
class Interpreter:
    @workflow.run
    async def run(self, program: Program) -> list[str]:
        done = []
        for name in program.names:  # expect: HF-A026
            done.append(
                await workflow.execute_activity(
                    name, program.root, start_to_close_timeout=timedelta(seconds=5), result_type=str
                )
            )
        return done
