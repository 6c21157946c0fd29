"""Defaults that are made when a workflow makes the object."""

import dataclasses
import uuid
from datetime import datetime

from holdfast import step, workflow
from pydantic import BaseModel, Field


@dataclasses.dataclass
class Ticket:
    title: str
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))  # expect: HF-A021


class Comment(BaseModel):
    text: str
    at: datetime = Field(default_factory=datetime.now)  # expect: HF-A020


@step
async def post(ticket: Ticket, comment: Comment) -> None:
    print(ticket, comment)


@workflow
async def complain(title: str) -> None:
    await post(Ticket(title=title), Comment(text="why"))
