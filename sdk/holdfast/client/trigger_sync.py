"""Triggers that workflows declare, made and kept as they are declared."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from temporalio.client import ScheduleState
from temporalio.service import RPCError

from holdfast.client.actions import record
from holdfast.client.trigger_backend import Backend, Wanted
from holdfast.client.trigger_info import SyncReport
from holdfast.client.trigger_target import target_of
from holdfast.errors import Conflict, HoldfastError, InvalidInput, NotFound
from holdfast.triggers.events import OnEvent, OnWebhook

if TYPE_CHECKING:
    from holdfast.authoring.workflow import Workflow
    from holdfast.client.client import Client

_RECORDED: Final = {"created": "create trigger", "updated": "update trigger"}

log = logging.getLogger("holdfast.triggers")


async def sync(
    client: Client, workflows: Sequence[Workflow[..., Any]], *, prune: bool, by: str | None = None
) -> SyncReport:
    """See `Triggers.sync`."""
    backend = Backend(client)
    found: dict[str, list[str]] = {"created": [], "updated": [], "unchanged": [], "refused": []}
    declared: set[str] = set()
    for wanted in await _wanted(client, workflows):
        if wanted.name in declared:
            raise InvalidInput(f"two workflows declare a trigger {wanted.name!r}")
        declared.add(wanted.name)
        came = await _sync_one(backend, wanted)
        found[came].append(wanted.name)
        if came in _RECORDED:
            await _record(client, _RECORDED[came], wanted.name, f"{wanted.owner} declares it", by)
    undeclared = sorted(
        name
        for name, owner in (await backend.owned()).items()
        if name not in declared and any(_same(owner, workflow, module=True) for workflow in workflows)
    )
    pruned: list[str] = []
    for name in undeclared if prune else ():
        try:
            await backend.delete(name)
        except NotFound:
            continue  # the server's list lags, or another process was faster
        pruned.append(name)
        await _record(client, "delete trigger", name, "the code declares it no more", by)
    return SyncReport(**found, undeclared=[] if prune else undeclared, pruned=pruned)


async def register(client: Client, workflows: Iterable[Workflow[..., Any]]) -> None:
    """See `Triggers.register`."""
    declaring = [workflow for workflow in workflows if workflow.triggers]
    if not declaring:
        return
    try:
        report = await sync(client, declaring, prune=False)
    except (HoldfastError, RPCError) as error:
        log.error("triggers could not be registered; `holdfast triggers sync APP` tries again: %s", error)
        return
    for name in report.refused:
        log.error("trigger %r is declared here, and was made otherwise: it is left as it is", name)
    for name in report.undeclared:
        log.warning(
            "trigger %r is declared no more, and goes on; `holdfast triggers sync APP --prune` ends it", name
        )


async def _wanted(client: Client, workflows: Sequence[Workflow[..., Any]]) -> list[Wanted]:
    wanted: list[Wanted] = []
    for workflow in workflows:
        for name, trigger in workflow.triggers.items():
            try:
                target = await target_of(
                    client,
                    workflow,
                    trigger.args,
                    queue=trigger.queue,
                    timeout=trigger.timeout,
                    priority=trigger.priority,
                    listens=isinstance(trigger.on, OnEvent | OnWebhook),
                )
            except InvalidInput as error:
                raise InvalidInput(f"trigger {name!r}: {error.message}", **error.details) from error
            owner = f"{workflow.__module__}:{workflow.name}"
            wanted.append(Wanted(name=name, on=trigger.on, policy=trigger.policy, target=target, owner=owner))
    return wanted


async def _sync_one(backend: Backend, wanted: Wanted) -> str:
    """Make it, change it, or leave it; says which."""
    while True:
        try:
            before = await backend.find(wanted.name)
        except NotFound:
            try:
                await backend.put(wanted, ScheduleState(), replace=False)
            except Conflict:
                continue  # another process was faster, at the same most likely
            return "created"
        if before.owner is None or not _same(before.owner, wanted.owner or ""):
            return "refused"
        if before.content_hash == await backend.content_hash(wanted):
            return "unchanged"
        try:
            await backend.put(wanted, ScheduleState(), replace=True)
        except Conflict:  # it goes by time and went by an event, or the other way round
            return "refused"
        return "updated"


async def _record(client: Client, what: str, name: str, why: str, by: str | None) -> None:
    await record(client, what, subject=f"trigger {name}", why=why, by=by)


def _same(owner: str, other: Workflow[..., Any] | str, *, module: bool = False) -> bool:
    """Whether two owners are the same workflow, imported under whatever name; or with `module` of one module."""
    text = other if isinstance(other, str) else f"{other.__module__}:{other.name}"
    its_module, _, its_workflow = owner.rpartition(":")
    our_module, _, our_workflow = text.rpartition(":")
    return its_workflow == our_workflow or (module and its_module == our_module != "__main__")
