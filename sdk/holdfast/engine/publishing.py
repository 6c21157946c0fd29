"""A worker says what it serves, in the background: it never waits for it and never fails by it."""

from __future__ import annotations

import importlib.metadata
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from holdfast.authoring.registry import registry
from holdfast.engine.parts import Parts
from holdfast.engine.telemetry.step_logs import can_keep
from holdfast.errors import HoldfastError, InvalidConfiguration
from holdfast.settings import Settings, load

if TYPE_CHECKING:
    from holdfast.authoring.catalogue import ExecutorEntry
    from holdfast.client.client import Client
    from holdfast.store.catalogues import ServedBy

logger = logging.getLogger("holdfast.worker")

FIRST_SECONDS: Final = 1.0
"""A worker begins to work first: importing executors and the database takes half a second of a core."""

_EVERY_SECONDS: Final = 3600.0
"""How often it says that it still serves this, so that it is not pruned."""

RETRY_SECONDS: Final = (5.0, 60.0)
"""How long it waits while the database is away: at first, and at most."""

_CLOSE_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Who:
    """The worker that publishes."""

    identity: str
    queues: Sequence[str]
    build_id: str | None
    deployment: str | None


class Publishing:
    """Publishes what a worker serves.

    Args:
        settings: Where the database is.
        namespace: Of the worker; a database of another one is left alone.
        parts: What is served.
        who: Who serves it.
    """

    def __init__(self, settings: Settings, namespace: str, parts: Parts, who: Who) -> None:
        self._settings = settings
        self._namespace = namespace
        self._parts = parts
        self._who = who
        self._executors = registry().executors
        self._started = datetime.now(UTC)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, a second from now."""
        self._thread = threading.Thread(target=self._publish, name="holdfast-catalogue", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Publish no more; what is being written may end, for five seconds at most."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _publish(self) -> None:
        if self._closing.wait(FIRST_SECONDS):
            return
        document: dict[str, Any] | None = None
        delay, told = RETRY_SECONDS[0], False
        while True:
            try:
                document = document or self._document()
                self._write(document)
                wait, delay, told = _EVERY_SECONDS, RETRY_SECONDS[0], False
            except Exception as error:  # of whatever kind: the worker goes on without it
                if not told:
                    expected = isinstance(error, HoldfastError)
                    logger.warning(
                        "what this worker serves cannot be published: %s",
                        error,
                        exc_info=None if expected else error,
                    )
                if isinstance(error, InvalidConfiguration):
                    return
                told, wait, delay = True, delay, min(2 * delay, RETRY_SECONDS[1])
            if self._closing.wait(wait):
                return

    def _document(self) -> dict[str, Any]:
        from holdfast.authoring.catalogue import entry_of
        from holdfast.authoring.offers import offers

        entries: list[ExecutorEntry] = []
        for kind in self._executors.types():
            try:
                found = self._executors.find(kind)
                entries.append(entry_of(found, package=self._executors.package_of(kind)))
            except Exception as error:  # noqa: BLE001 - the boundary to packages of others: its nodes fail, no more
                logger.debug("executor %r is not published: %s", kind, error)
        return offers(
            self._parts.workflows.values(), self._parts.steps.values(), entries, queues=self._who.queues
        )

    def _write(self, document: dict[str, Any]) -> None:
        from holdfast.authoring.offers import hash_of
        from holdfast.indexer.progress import check_namespace
        from holdfast.store.catalogues import ServedBy, publish_catalogue
        from holdfast.store.database import Database

        who = self._who
        first = ServedBy(
            identity=who.identity,
            queue="",
            hash=hash_of(document),
            build_id=who.build_id,
            deployment=who.deployment,
            holdfast=importlib.metadata.version("holdfast"),
            started=self._started,
            seen=datetime.now(UTC),
        )
        at_queues: list[ServedBy] = [replace(first, queue=queue) for queue in who.queues]
        database = Database.of(self._settings)
        try:
            check_namespace(database, self._namespace)
            publish_catalogue(database, document, at_queues)
        finally:
            database.close()


def publishing_of(client: Client, parts: Parts, who: Who) -> Publishing | None:
    """What publishes for the workers of a client: where `HOLDFAST_DATABASE_URL` is set, and for a home that keeps a
    history.

    Args:
        client: A connected client.
        parts: What the worker serves.
        who: The worker.
    """
    settings = load(client.home)
    of_home = client.home is not None and (settings.indexer == "auto" or client.store.kept)
    if client.in_memory or not can_keep():
        return None
    if settings.database_url is None and not of_home:
        logger.info("what this worker serves is not published: HOLDFAST_DATABASE_URL names no database")
        return None
    return Publishing(settings, client.namespace, parts, who)
