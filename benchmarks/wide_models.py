"""30 models and 50 steps, for a workflow module that imports much and uses little."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, create_model

from holdfast import Step, step


class Part(BaseModel):
    """A field of every model."""

    name: str
    amount: float = Field(ge=0)
    at: datetime | None = None
    tags: list[str] = []


MODELS: list[type[BaseModel]] = [
    create_model(f"Model{index}", part=(Part, ...), parts=(list[Part], ...), code=(str, "x"))
    for index in range(30)
]


def _declare(index: int) -> Step[..., Any]:
    async def wide(value: int) -> int:
        return value + index

    return step(name=f"wide_{index}")(wide)


STEPS = [_declare(index) for index in range(50)]
