"""Stored workflows: documents under a name, in versions."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from holdfast.client.actions import recorded
from holdfast.client.start import IfExists
from holdfast.errors import HoldfastError, InvalidInput

if TYPE_CHECKING:
    from holdfast.authoring.dag import Dag
    from holdfast.catalogue import Catalogue
    from holdfast.client.client import Client
    from holdfast.client.run import Run
    from holdfast.spec.audit import Level
    from holdfast.spec.diagram import DiagramFormat
    from holdfast.spec.finding import Finding
    from holdfast.spec.model import DagSpec
    from holdfast.store.definitions import WorkflowVersion

logger = logging.getLogger("holdfast.client")

Source: TypeAlias = "Dag | DagSpec | Mapping[str, Any] | str | bytes"
"""A DAG: an object, or its document as JSON values, or as text in JSON or YAML."""


@dataclass(frozen=True, kw_only=True)
class StoredWorkflow:
    """One version of a stored workflow, with its document."""

    version: WorkflowVersion
    """Its name, number, time, author and note."""

    spec: DagSpec = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with the document as its author wrote it."""
        return {**self.version.to_dict(), "document": self.spec.document()}


class Workflows:
    """`client.workflows`: workflows as documents, stored beside the history of runs. No indexer is needed.

    A run keeps the document that it started with: what is stored later, or deleted, changes no run.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(
        self, source: Source, *, by: str | None = None, note: str | None = None
    ) -> WorkflowVersion:
        """Store a new workflow, under the name in its document. One that was deleted goes on with its next version.

        Args:
            source: The DAG.
            by: Who stores it; in the record of actions by default the user of this machine.
            note: What is new in it.

        Raises:
            InvalidInput: It cannot run; with all `findings` in `details`.
            Conflict: There is one of this name.
            Unavailable: The database does not answer.
        """
        return await self._put("create", source, if_version=0, by=by, note=note)

    async def update(
        self,
        source: Source,
        *,
        if_version: int | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> WorkflowVersion:
        """Store the next version of a workflow. What means the same as the latest version makes none.

        Args:
            source: The DAG.
            if_version: Only if this is still the latest version.
            by: As for `create`.
            note: What is new in it.

        Raises:
            InvalidInput: It cannot run; with all `findings` in `details`.
            NotFound: There is none of this name, or it is deleted.
            Conflict: Another version is the latest.
            Unavailable: The database does not answer.
        """
        return await self._put("update", source, if_version=if_version, must_exist=True, by=by, note=note)

    async def push(
        self,
        source: Source,
        *,
        if_version: int | None = None,
        by: str | None = None,
        note: str | None = None,
    ) -> WorkflowVersion:
        """`create` or `update`, whichever fits; safe to repeat.

        Raises:
            InvalidInput, Conflict, Unavailable: As `update`.
        """
        return await self._put("push", source, if_version=if_version, by=by, note=note)

    async def get(self, name: str, version: int | None = None) -> StoredWorkflow:
        """A workflow with its document.

        Args:
            name: Its name.
            version: Default: the latest. A number also finds versions of a workflow that is deleted.

        Raises:
            NotFound: There is none.
            Unavailable: The database does not answer.
        """
        from holdfast.spec.document import load_value
        from holdfast.store.definitions import find_definition

        found = await self._client.store.call(find_definition, name, version)
        return StoredWorkflow(version=found.version, spec=load_value(dict(found.document)))

    async def list(
        self, *, limit: int = 100, after: str | None = None, deleted: bool = False
    ) -> list[WorkflowVersion]:
        """The latest version of each workflow, by name.

        Args:
            limit: At most so many.
            after: Only names after this one: the last name of the page before.
            deleted: Those that are deleted, in place of the others.

        Raises:
            Unavailable: The database does not answer.
        """
        from holdfast.store.definitions import list_definitions

        return await self._client.store.call(list_definitions, limit=limit, after=after, deleted=deleted)

    async def versions(self, name: str, *, limit: int = 100) -> builtins.list[WorkflowVersion]:
        """The versions of a workflow, the latest first, also of one that is deleted.

        Raises:
            NotFound: There is none.
            Unavailable: The database does not answer.
        """
        from holdfast.store.definitions import list_versions

        return [*await self._client.store.call(list_versions, name, limit=limit)]

    async def delete(
        self, name: str, *, if_version: int | None = None, by: str | None = None, reason: str = ""
    ) -> None:
        """Delete a workflow: it is not listed and cannot be started. Its runs go on, and `restore` brings it back.

        Args:
            name: Its name.
            if_version: Only if this is still the latest version.
            by: Who does it. Default: the user of this machine.
            reason: Why, for the record of actions.

        Raises:
            NotFound: There is none.
            Conflict: `if_version` is not the latest version.
            Unavailable: The database does not answer.
        """
        from holdfast.store.definitions import delete_definition

        async with self._recorded("delete", name, by, reason):
            await self._client.store.call(delete_definition, name, if_version=if_version)

    async def restore(self, name: str, *, by: str | None = None, reason: str = "") -> WorkflowVersion:
        """Bring back a workflow that was deleted.

        Args:
            name: Its name.
            by: Who does it. Default: the user of this machine.
            reason: Why, for the record of actions.

        Raises:
            NotFound: There is none.
            Unavailable: The database does not answer.
        """
        from holdfast.store.definitions import restore_definition

        async with self._recorded("restore", name, by, reason):
            return await self._client.store.call(restore_definition, name)

    async def start(
        self,
        name: str,
        input: Any = None,
        *,
        version: int | None = None,
        id: str | None = None,
        if_exists: IfExists = "raise",
        queue: str | None = None,
        timeout: timedelta | None = None,
        delay: timedelta | None = None,
        priority: int | None = None,
    ) -> Run[Any]:
        """Start a run of a stored workflow. The run keeps this document, and notes its version in the memo
        `definition_version`.

        Args:
            name: The workflow.
            input: The run's input.
            version: Default: the latest.
            id, if_exists, queue, timeout, delay, priority: As for `client.start`.

        Raises:
            NotFound: There is none.
            InvalidInput, AlreadyStarted, PayloadTooLarge, Unavailable: As `client.start`.
        """
        found = await self.get(name, version)
        return await self._client.start(
            found.spec,  # type: ignore[arg-type] # pyright: ignore[reportArgumentType, reportCallIssue]
            input,
            id=id,
            if_exists=if_exists,
            queue=queue,
            timeout=timeout,
            delay=delay,
            priority=priority,
            memo={"definition_version": found.version.version},
        )

    async def diagram(
        self, name: str, version: int | None = None, *, format: DiagramFormat = "mermaid"
    ) -> str:
        """A picture of a stored workflow.

        Raises:
            NotFound: There is none.
            Unavailable: The database does not answer.
        """
        from holdfast.spec.diagram import draw, of_spec

        return draw(of_spec((await self.get(name, version)).spec), format)

    def validate(self, source: Source, *, served: Catalogue | None = None) -> builtins.list[Finding]:
        """Everything that is wrong with a document, or may be; nothing is stored. Findings of severity `error` keep it
        from being stored. Nodes are checked as far as this process knows their executors and steps.

        Args:
            source: The DAG.
            served: What workers serve (`client.workers.catalogue()`), for what this process does not know. `create`,
                `update` and `push` ask for it by themselves.
        """
        from holdfast.authoring.catalogue import validate_here
        from holdfast.spec.audit import unreadable

        try:
            spec = _spec(source)
        except HoldfastError as error:
            return unreadable(error)
        return validate_here(spec, served=served)

    async def audit(
        self, name: str, version: int | None = None, *, level: Level = "normal"
    ) -> builtins.list[Finding]:
        """What in a stored workflow is not to be relied on; see the guide on the audit.

        Raises:
            NotFound: There is none.
            Unavailable: The database does not answer.
        """
        from holdfast.spec.audit import audit_spec

        return audit_spec((await self.get(name, version)).spec, level=level)

    def _recorded(
        self, what: str, name: str, by: str | None, why: str
    ) -> AbstractAsyncContextManager[dict[str, Any]]:
        return recorded(self._client, f"{what} workflow", subject=f"workflow {name}", why=why, by=by)

    async def _served(self) -> Catalogue | None:
        """What workers have published. That it cannot be read keeps nobody from storing a workflow."""
        if not self._client.store.kept:
            return None
        try:
            return await self._client.workers.catalogue()
        except HoldfastError as error:
            logger.info("what workers serve cannot be read: %s", error)
            return None

    async def _put(
        self,
        what: str,
        source: Source,
        *,
        if_version: int | None,
        must_exist: bool = False,
        by: str | None,
        note: str | None,
    ) -> WorkflowVersion:
        from holdfast.authoring.catalogue import ensure_valid_here
        from holdfast.store.definitions import put_definition

        spec = _spec(source)
        ensure_valid_here(spec, served=await self._served())
        async with self._recorded(what, spec.name, by, note or "") as facts:
            made = await self._client.store.call(
                put_definition,
                spec.name,
                spec.content_hash,
                spec.document(),
                if_version=if_version,
                must_exist=must_exist,
                by=by,
                note=note,
            )
            facts |= {"version": made.version, "is_new": made.is_new}
        return made


def _spec(source: Source) -> DagSpec:
    from holdfast.authoring.dag import Dag
    from holdfast.spec.document import load_json, load_value, load_yaml
    from holdfast.spec.model import DagSpec

    if isinstance(source, Dag):
        return source.compile()
    if isinstance(source, DagSpec):
        return source
    if isinstance(source, Mapping):
        return load_value(dict(source))
    if isinstance(cast("object", source), str | bytes):
        is_json = source.lstrip()[:1] in ("{", b"{")
        return load_json(source) if is_json else load_yaml(source)
    raise InvalidInput(f"{source!r:.100} is no DAG: give a Dag, its document, or its text in JSON or YAML")
