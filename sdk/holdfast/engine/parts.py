"""What a Temporal worker needs to serve Holdfast's workflows and steps."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, cast

from temporalio.converter import DataConverter
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from holdfast.authoring.depends import Providers
from holdfast.authoring.registry import registry
from holdfast.authoring.step import Step
from holdfast.authoring.workflow import Workflow
from holdfast.engine.activities import StepHost
from holdfast.engine.data.step_data import StepData
from holdfast.engine.executors import executor_activities
from holdfast.engine.heartbeat import HeartbeatInterceptor
from holdfast.engine.process_pool import ProcessPool
from holdfast.engine.sandbox import can_sandbox, runner
from holdfast.engine.semaphore import Semaphore
from holdfast.engine.shell import workflow_class
from holdfast.errors import InvalidWorkflow, NotFound
from holdfast.secrets import Given, secret_sources

_SERVED = (
    "@workflow functions, modules, module names such as 'app.orders' or 'app.*', or instances of classes with @step "
    "methods"
)


class Parts:
    """The pieces of one worker, made from what it is asked to serve.

    Args:
        served: Workflows, modules, module names (`"app.*"` for a package), or instances whose methods are steps.
        overrides: Values for dependencies, by provider.
        max_processes: For steps with `process=True`. Default: one per core.
        versioned: Whether the worker belongs to a deployment.
        secrets: Where executors find secrets before the environment and the folder of secrets.

    Raises:
        InvalidWorkflow, InvalidStep: One of them cannot work; nothing has started.
        NotFound: A module does not exist.
    """

    def __init__(
        self,
        served: Iterable[object],
        *,
        overrides: Mapping[Callable[[], Any], Any] | None = None,
        max_processes: int | None = None,
        versioned: bool = True,
        secrets: Given | None = None,
    ) -> None:
        self.workflows: dict[str, Workflow[..., Any]] = {}
        self.instances: dict[type, object] = {}
        if isinstance(served, str | ModuleType | Workflow):
            shown = served.name if isinstance(served, Workflow) else repr(served)
            raise InvalidWorkflow(f"a worker serves several things: give a list: [{shown}]")
        if not isinstance(cast("object", served), Iterable):
            raise InvalidWorkflow(f"a worker cannot serve {served!r}: give a list of {_SERVED}")
        for item in served:
            self._add(item)
        self.steps = registry().steps()
        for step in self.steps.values():
            step.check()
        self.providers = Providers({secret_sources: secret_sources(secrets), **(overrides or {})})
        self.processes = ProcessPool(max_processes)
        sandboxed: list[Workflow[..., Any]] = []
        from holdfast.engine.dag.flow import dag_workflow  # brings pydantic's slow half along
        from holdfast.engine.maps.flow import map_workflow

        self.classes: list[type] = [
            workflow_class(workflow, sandboxed=False) for workflow in (dag_workflow, map_workflow)
        ]
        self.classes.append(Semaphore)
        for workflow in self.workflows.values():
            workflow.check()
            guarded = can_sandbox(workflow)
            if guarded:
                sandboxed.append(workflow)
            self.classes.append(workflow_class(workflow, sandboxed=guarded, versioned=versioned))
        self.runner: SandboxedWorkflowRunner = runner(sandboxed, versioned=versioned)

    def _add(self, item: object) -> None:
        if isinstance(item, Workflow):
            workflow = cast("Workflow[..., Any]", item)
            registry().add_workflow(workflow)
            self.workflows[workflow.name] = registry().only_workflow(workflow.name)
        elif isinstance(item, str):
            for module in _modules(item):
                self._add(module)
        elif isinstance(item, ModuleType):
            for value in list(vars(item).values()):
                if isinstance(value, Workflow):
                    self._add(cast("Workflow[..., Any]", value))
        elif isinstance(item, Step):
            registry().add_step(cast("Step[..., Any]", item))
        elif _has_step_methods(item):
            self.instances[type(item)] = item
        else:
            raise InvalidWorkflow(f"a worker cannot serve {item!r}: give {_SERVED}")

    def code_id(self) -> str:
        """Names the code of the served steps and workflows, for histories."""
        digest = hashlib.sha256()
        functions = [workflow.fn for workflow in self.workflows.values()]
        functions += [step.fn for step in self.steps.values()]
        for code in sorted(function.__code__.co_code for function in functions):
            digest.update(code)
        return digest.hexdigest()[:16]

    def host(self, data_converter: DataConverter) -> StepHost:
        """The steps, bound to the way values are encoded."""
        return StepHost(
            StepData(data_converter),
            providers=self.providers,
            instances=self.instances,
            processes=self.processes,
        )

    def heartbeats(self, host: StepHost) -> HeartbeatInterceptor:
        """The beats of the steps."""
        host.codes.update({step.fn.__code__: name for name, step in self.steps.items()})
        return HeartbeatInterceptor(host, host.codes)

    def activities(self, host: StepHost) -> list[Callable[..., Any]]:
        """What serves the steps and the executors."""
        return [*host.activities(self.steps), *executor_activities(host)]

    async def close(self) -> None:
        """Close dependencies and processes."""
        try:
            await self.providers.close()
        finally:
            self.processes.close()


def _has_step_methods(item: object) -> bool:
    return any(isinstance(value, Step) for cls in type(item).__mro__ for value in vars(cls).values())


def _modules(name: str) -> list[ModuleType]:
    package = name.removesuffix(".*")
    try:
        found = [importlib.import_module(package)]
    except ModuleNotFoundError as exc:
        if exc.name is not None and (package == exc.name or package.startswith(f"{exc.name}.")):
            raise NotFound(
                f"there is no module {package!r} on the path; run from the folder that holds it"
            ) from exc
        raise
    if name.endswith(".*"):
        if not hasattr(found[0], "__path__"):
            raise NotFound(f"{package!r} is a module, not a package: drop the '.*'")
        found += [
            importlib.import_module(info.name)
            for info in pkgutil.walk_packages(found[0].__path__, f"{package}.")
        ]
    return [module for module in found if inspect.ismodule(module)]
