"""The client of the worker in which a step or an executor runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from temporalio import activity

from holdfast.client.client import Client
from holdfast.errors import InvalidConfiguration


async def client_here() -> AsyncIterator[Client]:
    """A client of the server that this worker works for: a provider, for `Depends` and `ctx.get`.

    Example:
        `client = await ctx.get(client_here)`

    Raises:
        InvalidConfiguration: No worker is around.
    """
    try:
        temporal = activity.client()
    except RuntimeError as error:
        raise InvalidConfiguration(
            "no worker is around whose client could be used: call it inside a run, or give a client with "
            "holdfast.testing.override({client_here: client})"
        ) from error
    async with Client.wrap(temporal) as client:
        yield client
