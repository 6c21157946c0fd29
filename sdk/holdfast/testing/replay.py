"""Today's code against recorded histories: does every open run go on with it?"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.worker import Replayer

from holdfast.client.connection import data_converter
from holdfast.engine.children import DAG_WORKFLOW, MAP_WORKFLOW
from holdfast.engine.parts import Parts
from holdfast.errors import InvalidInput, NotFound
from holdfast.settings import load
from holdfast.testing.replay_where import Parting, find_parting

if TYPE_CHECKING:
    from holdfast.client.client import Client
    from holdfast.client.run import Run

Histories = str | Path | WorkflowHistory | Iterable[str | Path | WorkflowHistory]
"""A file, a pattern such as `"tests/histories/*.json"`, a fetched history, or several of them."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What the replay of one history showed."""

    run_id: str
    workflow: str

    difference: str | None
    """The first place where today's code does something else, in Temporal's words; None when there is none."""

    step: str | None
    """The step at that place, where there is one."""

    parting: Parting | None = None
    """What the history has there and what today's code does, with lines of code; None where that cannot be told."""

    def __str__(self) -> str:
        if self.difference is None:
            return f"{self.run_id} ({self.workflow}): the same"
        at = f" at step {self.step!r}" if self.step else ""
        lines = [f"{self.run_id} ({self.workflow}) differs{at}: {self.difference}"]
        if self.parting is not None:
            lines += [f"    {line}" for line in str(self.parting).splitlines()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return dataclasses.asdict(self)


class ReplayDiffers(AssertionError):
    """Today's code does something else than a recorded run did.

    Attributes:
        replayed: Every history that differs.
    """

    def __init__(self, replayed: Sequence[Replayed]) -> None:
        self.replayed = replayed
        runs = "\n".join(f"  {one}" for one in replayed)
        super().__init__(
            f"open runs like these would be stuck with today's code:\n{runs}\n"
            "Keep the old way for them with `if patched('a-name'): new way, else: old way`, "
            "or undo the change. Never edit a history to make this pass."
        )


async def replay_check(
    histories: Histories, workflows: Sequence[object], *, client: Client | None = None
) -> None:
    """Replay recorded histories with today's code. Nothing is executed and no server is needed.

    Args:
        histories: Files, patterns, or histories from `run.history()`.
        workflows: As a `Worker` takes them: workflows, modules or module names.
        client: Reads payloads that lie in its storage or are encrypted with its keys. Default: what the environment
            says.

    Raises:
        ReplayDiffers: A run would not go on; it names the first difference of each, and the step.
        NotFound: A pattern matches no file, or no given workflow has a history's name.
        InvalidInput: A file is no history.
    """
    differing = [one for one in await replay_report(histories, workflows, client=client) if one.difference]
    if differing:
        raise ReplayDiffers(differing)


async def replay_report(
    histories: Histories, workflows: Sequence[object], *, client: Client | None = None
) -> list[Replayed]:
    """As `replay_check`, but report on every history in place of raising `ReplayDiffers`."""
    recorded = load_histories(histories)
    parts = Parts(workflows)
    for history in recorded:
        check_served(history, parts)

    async def given() -> AsyncIterator[WorkflowHistory]:
        for history in recorded:
            yield history

    try:
        return [one async for one in replay_each(given(), parts, client=client)]
    finally:
        await parts.close()


async def replay_each(
    histories: AsyncIterator[WorkflowHistory], parts: Parts, *, client: Client | None = None
) -> AsyncGenerator[Replayed]:
    """Replay histories as they come, one after the other, and say of each what it showed.

    Args:
        histories: Of workflows that `parts` serves, and of DAGs.
        parts: Today's code.
        client: As for `replay_check`.
    """
    settings = load()
    converter = (
        client.temporal.data_converter if client else data_converter(settings, storage=settings.storage)
    )
    replayer = Replayer(
        workflows=parts.classes,
        workflow_runner=parts.runner,
        data_converter=converter,
        runtime=_quiet_runtime(),
    )
    async for history, replayed in run_replayer(replayer, histories):
        if replayed.difference is None:
            yield replayed
            continue
        parting = await find_parting(history, parts, converter=converter, runtime=_quiet_runtime())
        yield dataclasses.replace(
            replayed, parting=parting, step=replayed.step or (parting.step if parting else None)
        )


async def run_replayer(
    replayer: Replayer, histories: AsyncIterator[WorkflowHistory]
) -> AsyncGenerator[tuple[WorkflowHistory, Replayed]]:
    """Give histories to a replayer and read its answers. A run that has not begun fits any code, and Temporal's
    replayer would wait for its first task for ever."""
    not_begun: list[WorkflowHistory] = []

    async def begun() -> AsyncIterator[WorkflowHistory]:
        async for history in histories:
            if _has_begun(history):
                yield history
            else:
                not_begun.append(history)

    async with replayer.workflow_replay_iterator(begun()) as results:
        async for result in results:
            yield result.history, _replayed(result.history, result.replay_failure)
    for history in not_begun:
        yield history, _replayed(history, None)


def _has_begun(history: WorkflowHistory) -> bool:
    return any(event.HasField("workflow_task_completed_event_attributes") for event in history.events)


@functools.cache
def _quiet_runtime() -> Runtime:
    # Temporal's core would print each difference on its own, in its own form.
    quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    return Runtime(telemetry=TelemetryConfig(logging=quiet))


async def save_history(run: Run[Any], path: str | Path) -> Path:
    """Record a run's history for `replay_check`, as Temporal's own JSON without stack traces, which a replay does not
    need and which name paths of the machine.

    Payloads over 32 KiB stay in the client's storage: record runs with small values.

    Args:
        run: The run, open or closed.
        path: The file; folders are created, and an existing file is replaced.

    Raises:
        NotFound: There is no such run.
    """
    history = await run.history()
    return await asyncio.to_thread(_write, history, Path(path))


def _write(history: WorkflowHistory, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(history_json(history), indent=1) + "\n", "utf-8")
    return target


def history_json(history: WorkflowHistory) -> Any:
    """A history as `save_history` writes it."""
    return _without_stacks(history.to_json_dict())


def _without_stacks(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {key: _without_stacks(field) for key, field in fields.items() if key != "stackTrace"}
    if isinstance(value, list):
        items = cast("Sequence[Any]", value)
        return [_without_stacks(item) for item in items]
    return value


def load_histories(histories: Histories) -> list[WorkflowHistory]:
    """Read histories from files; those that are read already pass through.

    Raises:
        NotFound: A pattern matches no file.
        InvalidInput: A file is no history.
    """
    if isinstance(histories, WorkflowHistory):
        return [histories]
    if isinstance(histories, str | Path):
        return [_read(path) for path in _files(histories)]
    return [history for one in histories for history in load_histories(one)]


def _files(pattern: str | Path) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        path = path / "*.json"
    if path.is_file():
        return [path]
    found = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
    if not found:
        raise NotFound(f"no file matches {str(pattern)!r}: record a run with holdfast.testing.save_history")
    return found


def _read(path: Path) -> WorkflowHistory:
    try:
        # Histories from Temporal's command line and older servers do not name their run.
        history = WorkflowHistory.from_json(path.stem, path.read_text("utf-8"))
        start = history.events[0].workflow_execution_started_event_attributes
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise InvalidInput(f"{path} is no history of a run: {exc}") from exc
    return WorkflowHistory(start.workflow_id or path.stem, history.events)


def workflow_of(history: WorkflowHistory) -> str:
    """The name of the workflow whose run this is."""
    return history.events[0].workflow_execution_started_event_attributes.workflow_type.name


def serves(parts: Parts, workflow: str) -> bool:
    """Whether a worker with these parts would take runs of a workflow."""
    return workflow in parts.workflows or workflow in (DAG_WORKFLOW, MAP_WORKFLOW)


def check_served(history: WorkflowHistory, parts: Parts) -> None:
    """Check that the history's workflow is there. Every worker serves DAGs.

    Raises:
        NotFound: It is not.
    """
    name = workflow_of(history)
    if not serves(parts, name):
        raise NotFound(
            f"run {history.workflow_id!r} is one of workflow {name!r}; given are: "
            f"{', '.join(sorted(parts.workflows)) or 'none'}"
        )


_SAID = re.compile(r'message: "(?:\[\w+\] )?(?:Nondeterminism error: )?(.*?)", source: "', re.DOTALL)
"""Temporal's sentence within the text in which its core wraps it."""

_AT_CALL = re.compile(r"of scheduled event '(.+?)-\d+' does")
_AT_EVENT = re.compile(r"HistoryEvent\(id: (\d+)")
_AT_LOCAL = re.compile(r"LocalActivity\((\d+)\)")


def _replayed(history: WorkflowHistory, failure: Exception | None) -> Replayed:
    difference = step = None
    if failure is not None:
        said = _SAID.search(str(failure))
        difference = said[1].replace("\\'", "'") if said else str(failure)
        step = _step(difference, history.events)
    return Replayed(
        run_id=history.workflow_id, workflow=workflow_of(history), difference=difference, step=step
    )


def _step(difference: str, events: Sequence[HistoryEvent]) -> str | None:
    if found := _AT_CALL.search(difference):
        return found[1].removeprefix("compensate:")
    if found := _AT_EVENT.search(difference):
        at = next((event for event in events if event.event_id == int(found[1])), None)
        named = at is not None and at.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        return at.activity_task_scheduled_event_attributes.activity_type.name if at and named else None
    if found := _AT_LOCAL.search(difference):
        return _local_step(int(found[1]), events)
    return None


def _local_step(number: int, events: Sequence[HistoryEvent]) -> str | None:
    for event in events:
        marker = event.marker_recorded_event_attributes
        for payload in marker.details["data"].payloads if "data" in marker.details else ():
            recorded = json.loads(payload.data)
            if marker.marker_name == "core_local_activity" and recorded["seq"] == number:
                return str(recorded["activity_type"])
    return None
