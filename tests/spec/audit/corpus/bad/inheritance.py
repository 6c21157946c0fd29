"""What a base class does for its workflows."""

import logging
import time
from datetime import datetime

from temporalio import workflow

logger = logging.getLogger(__name__)


class Base:
    def __init__(self) -> None:
        self.log: list[str] = [self.stamp()]

    def stamp(self) -> str:
        return datetime.now().isoformat()  # expect: HF-A020

    @property
    def age(self) -> float:
        return time.time()  # expect: HF-A020

    def note(self) -> None:
        logger.info("noted")  # strict: HF-A029


class Middle(Base):
    def stamp(self) -> str:
        return "at " + super().stamp()


@workflow.defn
class Concrete(Middle):
    @workflow.run
    async def run(self) -> float:
        self.note()
        return self.age
