"""Which modules a run imports for itself: only those that define a workflow. All others are shared.

That one rule keeps the guard against clocks and chance where workflow code stands, and keeps runs fast: models and
steps that a workflow module imports are not built again for every run.
"""

from __future__ import annotations

import ast
import dataclasses
import logging
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import Info

from holdfast.authoring.workflow import Workflow
from holdfast.errors import InvalidWorkflow

logger = logging.getLogger("holdfast.worker")

_MAIN = "__temporal_main__"
"""Temporal's name for the main script inside the sandbox."""


class _AllBut(set[str]):
    """Contains every module name except those of workflow modules.

    Temporal asks for a module's name and, when told no, for each package around it: a yes there would share the module
    after all. Asked for on its own, such a package is shared like any other, so that its models keep their classes.
    """

    def __init__(self, workflow_modules: Iterable[str]) -> None:
        super().__init__()
        self._private = {_MAIN if name == "__main__" else name for name in workflow_modules}
        self._asked = threading.local()

    def __contains__(self, name: object) -> bool:
        around: list[str] = getattr(self._asked, "around", [])
        if around and around[0] == name:
            self._asked.around = around[1:]
            return False
        private = name in self._private
        self._asked.around = _packages(str(name)) if private else []
        return not private


def _packages(name: str) -> list[str]:
    """The packages around a module, outermost first, as Temporal asks for them."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


class _ContextFree(WorkflowInstance):
    """A sandboxed instance that does not ask the sandbox for serialisation contexts: our converter, codec and storage
    need none, and asking costs a third of a local step."""

    def __init__(self, inner: WorkflowInstance, *, versioned: bool) -> None:
        self._inner = inner
        self._versioned = versioned

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        completion = self._inner.activate(act)
        if not self._versioned and completion.HasField("successful"):
            # From a worker of no deployment the server refuses it, and the run would hang.
            completion.successful.ClearField("versioning_behavior")
        return completion

    def get_serialization_context(self, command_info: object) -> None:
        return None

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:
        return _NO_TARGET

    def get_info(self) -> Info:
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()


_NO_TARGET = StorageDriverStoreContext()
_CREATING = threading.Lock()


class Sandbox(SandboxedWorkflowRunner):
    """Temporal's sandbox, for runs whose values are encoded by Holdfast.

    Attributes:
        versioned: Whether the worker belongs to a deployment; else what workflows say about versioning is left out.
    """

    versioned = True

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        # One at a time, as with the interpreter's own lock anyway: not all that importers call may run in two threads,
        # and `ast.parse`, of which pytest's makes use, fails there before Python 3.13.
        with _CREATING:
            try:
                return _ContextFree(super().create_instance(det), versioned=self.versioned)
            finally:
                _put_back(det.defn.cls.__module__)


def _put_back(name: str) -> None:
    """A run's private import of `package.module` also sets it on the package, which is shared."""
    package, _, child = name.rpartition(".")
    if package in sys.modules and name in sys.modules:
        setattr(sys.modules[package], child, sys.modules[name])


def runner(workflows: Iterable[Workflow[..., Any]], *, versioned: bool = True) -> SandboxedWorkflowRunner:
    """The sandbox for these workflows."""
    made = sandbox({workflow.fn.__module__ for workflow in workflows})
    made.versioned = versioned
    return made


def sandbox(modules: Iterable[str]) -> Sandbox:
    """The sandbox that imports these modules for each run and shares all others."""
    return Sandbox(
        restrictions=dataclasses.replace(SandboxRestrictions.default, passthrough_modules=_AllBut(modules))
    )


def can_sandbox(workflow: Workflow[..., Any]) -> bool:
    """Whether a workflow's module can be imported again. Notebooks, local functions and the prompt cannot; they run
    unguarded, with one message.

    Raises:
        InvalidWorkflow: A script starts work when it is imported.
    """
    if not workflow.options.sandboxed:
        return False
    reason = _why_not(workflow)
    if reason is None:
        return True
    if reason not in _told:
        _told.add(reason)
        logger.warning(
            "workflow %r runs without the guard against clocks and chance: %s. Move it into a module to have it.",
            workflow.name,
            reason,
        )
    return False


_told: set[str] = set()


def _why_not(workflow: Workflow[..., Any]) -> str | None:
    if "<locals>" in workflow.fn.__qualname__:
        return "it is defined inside a function"
    name = workflow.fn.__module__
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file():
        return "its module is no file (a notebook, or the interactive prompt)"
    if name == "__main__":
        _check_main_guard(Path(file))
    elif not _importable(name, Path(file)):
        return f"{name!r} cannot be imported by that name, its file was loaded by path"
    return None


def _importable(name: str, file: Path) -> bool:
    # Not importlib.util.find_spec, which answers with what is loaded already: pytest and others load files by path.
    path: Sequence[str] | None = None
    origin: str | None = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        prefix = ".".join(parts[:count])
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        spec = next((spec for find in finders if find and (spec := find(prefix, path))), None)
        if spec is None:
            return False
        path, origin = spec.submodule_search_locations, spec.origin
    return origin is not None and Path(origin).resolve() == file.resolve()


_LOOPS = {"asyncio", "anyio", "trio", "uvloop"}


def _check_main_guard(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    for node in tree.body:
        if isinstance(node, ast.If | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and _runs_a_loop(call.func):
                raise InvalidWorkflow(
                    f"{file.name}:{call.lineno} starts work whenever the file is imported, and every run of a "
                    f'workflow imports it. Put it under `if __name__ == "__main__":`'
                )


def _runs_a_loop(called: ast.expr) -> bool:
    if not isinstance(called, ast.Attribute):
        return False
    if called.attr == "run":
        return isinstance(called.value, ast.Name) and called.value.id in _LOOPS
    return called.attr in {"run_until_complete", "run_forever"}
