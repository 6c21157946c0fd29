"""What all llm calls of a worker share: connections, what endpoints can do, and what they still take.

openai is an extra: this module imports it only where the first call of a worker needs it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from holdfast import InvalidConfiguration
from holdfast_executors.llm_limits import Bucket
from holdfast_executors.llm_models import OPENAI, Rung

if TYPE_CHECKING:
    from openai import AsyncOpenAI, Omit


class Endpoints:
    """Clients by endpoint, without keys; and what was learnt about endpoint and model."""

    def __init__(self) -> None:
        self.rungs: dict[tuple[str, str, str], Rung] = {}
        """By endpoint, API and model: the surest way to typed output that works, if it is not the first one."""
        self.buckets: defaultdict[tuple[str, str], Bucket] = defaultdict(Bucket)
        self._clients: dict[str, AsyncOpenAI] = {}
        self._http: Any = None

    def client(self, base_url: str) -> AsyncOpenAI:
        """The client of an endpoint. Keys go with each request."""
        from openai import AsyncOpenAI, DefaultAsyncHttpx2Client

        if self._http is None:
            # A redirect would carry the prompt, and perhaps the key, to a host that nobody named.
            self._http = DefaultAsyncHttpx2Client(follow_redirects=False)
        if base_url not in self._clients:
            client = AsyncOpenAI(base_url=base_url, api_key="-", max_retries=0, http_client=self._http)
            if (
                base_url.rstrip("/") != OPENAI
            ):  # it takes them from the environment, and they are OpenAI's business
                client.organization = client.project = None
            self._clients[base_url] = client
        return self._clients[base_url]

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()


async def open_endpoints() -> AsyncIterator[Endpoints]:
    """The endpoints of a worker.

    Raises:
        InvalidConfiguration: The package `openai` is missing.
    """
    try:
        # On a thread: what openai imports at first use, and the certificates, take a second.
        endpoints = await asyncio.to_thread(_prepared)
    except ModuleNotFoundError as error:
        raise InvalidConfiguration(
            f"the executor 'llm' needs {error.name}: pip install 'holdfast[llm]'"
        ) from error
    try:
        yield endpoints
    finally:
        await endpoints.close()


def _prepared() -> Endpoints:
    endpoints = Endpoints()
    client = endpoints.client(OPENAI)
    _ = client.chat.completions, client.responses
    return endpoints


def headers_of(key: str | None) -> Mapping[str, str | Omit]:
    """The headers of one request."""
    from openai import Omit

    return {"Authorization": f"Bearer {key}" if key else Omit()}
