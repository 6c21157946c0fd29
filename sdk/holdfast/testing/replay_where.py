"""Where today's code and a recorded history part, said so that one sees what to change."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.runtime import Runtime
from temporalio.worker import Replayer

from holdfast.authoring.registry import registry
from holdfast.engine.parts import Parts
from holdfast.testing.replay_commands import Command, LineOfCode, ListeningRunner, recorded_commands


@dataclass(frozen=True, kw_only=True)
class PartingCall:
    """What a run asks for at the place where the ways part."""

    what: str
    """`step 'charge'`, `a timer`, `completes`."""

    file: str | None = None
    """The file of today's code that asks for it; None where none does."""

    line: int | None = None
    source: str | None = None
    """That line."""

    event_id: int | None = None
    """Its event in the history; None for today's code."""

    @property
    def place(self) -> str:
        """`flows.py:12: await ship(order)`; empty where no line is known."""
        return f"{shown_file(self.file)}:{self.line}: {self.source}" if self.file else ""


@dataclass(frozen=True, kw_only=True)
class Parting:
    """The first place where today's code does something else than a recorded run did."""

    recorded: PartingCall | None
    """What the history has; its line is where today's code still calls that. None if the history ends there."""

    now: PartingCall | None
    """What today's code does; None if it waits."""

    step: str | None
    """The step that the history has there; else the one that today's code calls."""

    patch: str
    """The line to add around what is new."""

    def __str__(self) -> str:
        recorded, now = self.recorded, self.now
        event = f" (event {recorded.event_id})" if recorded else ""
        calls = f", which today's code calls at {recorded.place}" if recorded and recorded.place else ""
        at = f" at {now.place}" if now and now.place else ""
        return "\n".join(
            (
                f"the history has{event}: {recorded.what if recorded else 'nothing more'}{calls}",
                f"today's code has: {now.what if now else 'nothing, it waits'}{at}",
                f"add: {self.patch}",
            )
        )


async def find_parting(
    history: WorkflowHistory, parts: Parts, *, converter: DataConverter, runtime: Runtime
) -> Parting | None:
    """Replay a history that differs once more, without the sandbox, and note what the code asks for on which line.

    Args:
        history: One that differs.
        parts: Today's code.
        converter: Reads its payloads.
        runtime: In which to replay.

    Returns:
        None where the commands are the same: then something else is wrong than their order.
    """
    runner = ListeningRunner()
    replayer = Replayer(
        workflows=parts.classes, workflow_runner=runner, data_converter=converter, runtime=runtime
    )
    await replayer.replay_workflow(history, raise_on_replay_failure=False)
    known = recorded_commands(history.events)
    recorded, asked = _first_difference(known, runner.asked())
    if recorded is None and asked is None:
        return None
    workflow = history.events[0].workflow_execution_started_event_attributes.workflow_type.name
    definition = parts.workflows.get(workflow)
    named = next((one for one in (recorded, asked) if one and "step" in one.kind), None)
    before = None
    if definition is not None and recorded is not None and recorded.name:
        before = _called_at(definition.fn, recorded.name, asked.line if asked is not None else None)
    return Parting(
        recorded=_call(recorded, before) if recorded is not None else None,
        now=_call(asked, asked.line) if asked is not None else None,
        step=named.name if named is not None else None,
        patch=_patch(workflow, asked, recorded, is_gone=before is None and _is_gone(asked, recorded, known)),
    )


def _first_difference(
    recorded: Sequence[Command], asked: Sequence[Command]
) -> tuple[Command | None, Command | None]:
    """What the history has at the first difference, and what today's code asks for there."""
    locals_asked = {one.number: one for one in asked if one.kind == "local step"}
    in_turn = [one for one in asked if one.kind != "local step"]
    partner: dict[int, Command] = {}
    missing: Command | None = None
    taken = 0
    for one in recorded:
        other: Command | None = None
        if one.kind == "local step":
            other = locals_asked.get(one.number)
        elif taken < len(in_turn):
            other = in_turn[taken]
        if other is None or not one.fits(other):
            if missing is None:
                missing = one
            if one.kind == "local step":
                continue  # what came after it in the history is what today's code does in its place
            break
        if one.kind != "local step":
            taken += 1
        partner[id(other)] = one
    new = [one for one in asked if id(one) not in partner]
    if missing is not None and not new:
        # Today's code does at once what the history has only later.
        new = [one for one in asked if partner[id(one)].event_id > missing.event_id]
    return missing, new[0] if new else None


def _call(command: Command, line: LineOfCode | None) -> PartingCall:
    file, number = line or (None, None)
    source = linecache.getline(file, number).strip() if file and number else None
    return PartingCall(
        what=str(command), file=file, line=number, source=source or None, event_id=command.event_id or None
    )


def _is_gone(asked: Command | None, missing: Command | None, recorded: Sequence[Command]) -> bool:
    """Whether today's code does what comes later in the history: then nothing is new, and something is gone."""
    if missing is None:
        return False
    return asked is None or any(one.fits(asked) for one in recorded if one.event_id > missing.event_id)


def _called_at(workflow: Callable[..., object], name: str, near: LineOfCode | None) -> LineOfCode | None:
    """The next line, from a given one on, on which a workflow calls a step or a workflow, itself or by what it calls in
    its own file."""
    known = [step.fn.__name__ for step in registry().all_steps() if step.name == name]
    names = {name.rpartition(".")[2], *known}
    with suppress(OSError, SyntaxError, ValueError, TypeError):
        code = inspect.unwrap(workflow).__code__
        file = inspect.getsourcefile(code)
        if file is None:
            return None
        calls = _reachable_calls(ast.parse(Path(file).read_text("utf-8")), code.co_firstlineno)
        first = near[1] if near is not None and near[0] == file else 0
        after = [call.lineno for call in calls if call.lineno >= first and _name_of(call.func) in names]
        return (file, min(after)) if after else None
    return None


def _reachable_calls(tree: ast.Module, line: int) -> list[ast.Call]:
    """The calls in the function that begins on a line, and in those of the file that it calls."""
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    waiting = [
        one for one in functions if line in (one.lineno, *(made.lineno for made in one.decorator_list))
    ]
    seen, calls = set(waiting), list[ast.Call]()
    while waiting:
        found = [node for node in ast.walk(waiting.pop()) if isinstance(node, ast.Call)]
        calls += found
        names = {_name_of(call.func) for call in found}
        called = [one for one in functions if one.name in names and one not in seen]
        seen.update(called)
        waiting += called
    return calls


def _name_of(called: ast.expr) -> str | None:
    if isinstance(called, ast.Attribute):
        return called.attr
    return called.id if isinstance(called, ast.Name) else None


def _patch(workflow: str, now: Command | None, before: Command | None, *, is_gone: bool) -> str:
    changed = before if is_gone else now
    what = "change" if changed is None or changed.kind == "end" else changed.name or changed.kind
    name = re.sub(r"[^a-z0-9]+", "-", f"{workflow}-{what}".lower()).strip("-")
    if is_gone:
        return f'if not patched("{name}"):  # what the history has here'
    return f'if patched("{name}"):  # what is new; else: what was here before, if anything was'


def shown_file(file: str) -> str:
    """A file, from the current folder where it is in that."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
