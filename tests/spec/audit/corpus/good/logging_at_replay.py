"""Output that a replay does not repeat, and some that it does."""

import logging

from temporalio import workflow

log = logging.getLogger(__name__)


@workflow.defn
class Talking:
    @workflow.run
    async def run(self, name: str) -> str:
        workflow.logger.info("hello %s", name)
        if not workflow.unsafe.is_replaying():
            print("for the first time:", name)
            log.warning("for the first time: %s", name)
        print("again and again")  # strict: HF-A029
        log.info("again and again")  # strict: HF-A029
        return name
