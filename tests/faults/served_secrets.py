"""An executor that does with its secret all that it should not, for the worker process of the test."""

from __future__ import annotations

import logging
from typing import Any, Literal

from pydantic import BaseModel, JsonValue

from holdfast import Executor, ExecutorContext, Permanent, register_executor, step, template, workflow


class LeakyConfig(BaseModel, extra="forbid"):
    how: Literal["returns", "raises", "chains", "gives up", "logs", "beats", "hides"]
    """Where it leaks."""
    key: str = ""
    """The secret itself."""
    named: str = "CANARY"
    """The name of the secret."""


@register_executor
class Leaky(Executor[LeakyConfig, Any]):
    """Leaks."""

    type = "leaky"

    async def execute(self, ctx: ExecutorContext, config: LeakyConfig, input: JsonValue) -> Any:
        key = config.key or await ctx.secrets.get(config.named)
        match config.how:
            case "returns":
                return {"seen": key, key: [f"Bearer {key}"], "bytes": key.encode().hex()}
            case "raises":
                raise RuntimeError(f"refused: {key!r}")
            case "chains":
                try:
                    raise ConnectionError(f"GET https://user:{key}@host/")
                except ConnectionError as error:
                    raise ValueError({"headers": {"Authorization": key}}) from error
            case "gives up":
                raise Permanent(f"the key {key} has expired")
            case "logs":
                logging.getLogger("some.library").warning("GET /?key=%s", key)
                ctx.logger.error("failed with %s", {"key": key}, exc_info=RuntimeError(key))
            case "beats":
                ctx.heartbeat({"token": key, "done": 3})
                if ctx.attempt == 1:
                    raise RuntimeError("again")
                return ctx.heartbeat_details
            case "hides":
                ctx.hide(token := f"{key}-session")
                return {"session": token}
        return None


@step
async def use_in_a_step(how: str) -> Any:
    return await Leaky.call({"how": how})


@workflow
async def leaks_in_code(how: str) -> Any:
    return await Leaky.call({"how": how, "key": template("{{ secrets.CANARY }}")})


@workflow
async def leaks_in_a_step(how: str) -> Any:
    return await use_in_a_step(how)
