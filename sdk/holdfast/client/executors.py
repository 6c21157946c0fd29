"""The executors that workers serve."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from holdfast.errors import NotFound

if TYPE_CHECKING:
    from holdfast.catalogue import Offer
    from holdfast.client.client import Client


class Executors:
    """`client.executors`: what the type of a node may name, as workers have published it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def list(self, *, queue: str | None = None) -> list[Offer]:
        """The executors by type, with the JSON Schemas of config and output; one that differs between queues is there
        for each.

        Args:
            queue: Only those served at this queue.

        Raises:
            Unavailable, InvalidConfiguration: As `client.workers.catalogue`.
        """
        return [*(await self._client.workers.catalogue(queue=queue)).executors]

    async def get(self, type: str, *, queue: str | None = None) -> Offer:
        """One executor.

        Args:
            type: What nodes name.
            queue: As it is served at this queue. Default: as a worker that is there serves it, else the last one.

        Raises:
            NotFound: No worker has published it.
            Unavailable, InvalidConfiguration: As `client.workers.catalogue`.
        """
        catalogue = await self._client.workers.catalogue(queue=queue)
        found = catalogue.find("executors", type)
        if found is None:
            known: builtins.list[str] = [one.name for one in catalogue.executors]
            raise NotFound(f"no worker has offered executor {type!r}; offered: {', '.join(known) or 'none'}")
        return found
