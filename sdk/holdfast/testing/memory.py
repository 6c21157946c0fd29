"""The server that the tests of one process share."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client as TemporalClient

from holdfast.client.client import Client
from holdfast.client.connection import Connection, data_converter
from holdfast.engine.embedded import Attachment, attach
from holdfast.engine.inbox import DAG, PAUSED, WAITING
from holdfast.settings import load
from holdfast.testing.clock import skipping

T = TypeVar("T")

_CLIENTS_PER_SERVER = 50
"""Each namespace costs the server about 4 MB, so now and then a new server takes over."""


class MemoryServer:
    """An embedded server in memory that skips time. It has a thread and a loop of its own, so that tests may use
    whatever loop they like, each its own; each gets a namespace of its own, so ids and queues never meet."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="holdfast-test-server", daemon=True
        )
        self._thread.start()
        self._attachment: Attachment | None = None
        self._open_count = 0
        self._numbers = itertools.count(1)
        self._used = 0

    @property
    def server_pid(self) -> int | None:
        """The process of the server, while there is one."""
        return self._attachment.info.server_pid if self._attachment else None

    @contextmanager
    def client(self) -> Generator[Client]:
        """A connected client in a new namespace."""
        client = Client(self._connect)
        self._call(client.__aenter__())
        self._open_count += 1
        try:
            yield client
        finally:
            self._open_count -= 1
            self._call(client.close())

    def close(self) -> None:
        """Stop the server."""
        self._call(self._detach())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _detach(self) -> None:
        if self._attachment is not None:
            await self._attachment.close()
            self._attachment = None

    async def _connect(self) -> Connection:
        if self._used >= _CLIENTS_PER_SERVER and self._open_count == 0:
            await self._detach()
        if self._attachment is None:
            self._attachment, self._used = await attach(None, time_skipping=True), 0
        self._used += 1
        info = self._attachment.info
        converter = data_converter(load(), storage=info.blobs)
        namespace = f"test-{next(self._numbers)}"
        await _register(await TemporalClient.connect(info.address), namespace)
        temporal = await TemporalClient.connect(info.address, namespace=namespace, data_converter=converter)
        return Connection(
            temporal=skipping(temporal), address=info.address, ui_url=info.ui_url, searchable=True
        )


async def _register(temporal: TemporalClient, namespace: str) -> None:
    request = RegisterNamespaceRequest(namespace=namespace)
    request.workflow_execution_retention_period.FromTimedelta(timedelta(days=30))
    await temporal.workflow_service.register_namespace(request)
    await temporal.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=namespace,
            search_attributes={
                PAUSED.name: IndexedValueType.INDEXED_VALUE_TYPE_BOOL,
                WAITING.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
                DAG.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
            },
        )
    )
