"""`Dag`: a workflow as a graph, written with decorators or built at run time, compiled to a `DagSpec`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn, ParamSpec, TypeVar, Unpack, cast, overload

from holdfast.authoring.dag_compile import Compiler, Draft, check_spec
from holdfast.authoring.dag_options import (
    NODE_AND_STEP,
    STEP_ONLY,
    DeclaredStepOptions,
    ExecutorNodeOptions,
    NodeOptions,
    NodeRef,
    StepNodeOptions,
    WorkOptions,
    own_config,
    own_fields,
)
from holdfast.authoring.dag_values import given, listed, schema_of, step_name, workflow_name
from holdfast.authoring.scope import current_run
from holdfast.authoring.step import Step, StepDecorator, step
from holdfast.authoring.workflow import Workflow
from holdfast.errors import InvalidStep, InvalidWorkflow, NotInWorkflow
from holdfast.options import retry_policy
from holdfast.spec.check_expressions import Expressions
from holdfast.spec.document import load_value, load_yaml
from holdfast.spec.model import BudgetSpec, DagSpec, OnError, OnFailure, RetrySpec
from holdfast.spec.names import STEP_TYPE

P = ParamSpec("P")
R = TypeVar("R")

_OF_MAP = frozenset({"concurrency", "on_error", "item_name"})


class Dag:
    """A workflow as a graph of nodes. `compile()` makes the document that runs are made of.

    A node depends on what it names: a parameter called like a node, an expression or a template that uses it, or
    `depends_on`.

    Args:
        name: The workflow's name.
        description: What it is for.
        input_schema: A JSON Schema for the input of a run, or a type to make it from.
        variables: Constants that expressions reach as `variables.<name>`.
        output: An expression for the result. Default: the outputs of the last nodes.
        max_parallel: How many nodes and items run at the same time, 1 to 500.
        timeout: How long a run may take.
        on_failure: When a node fails the run: `compensate`, `fail` or `pause`.
        budget: What one run may use up.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str | None = None,
        input_schema: Mapping[str, Any] | type | None = None,
        variables: Mapping[str, Any] | None = None,
        output: str | None = None,
        max_parallel: int = 100,
        timeout: timedelta | None = None,
        on_failure: OnFailure = "compensate",
        budget: BudgetSpec | None = None,
    ) -> None:
        self.name = name
        self._head: dict[str, Any] = {
            "name": name,
            "description": description,
            "input_schema": schema_of(input_schema, f"the input_schema of dag {name!r}"),
            "variables": dict(variables or {}),
            "output": output,
            "options": {
                "max_parallel": max_parallel,
                "timeout": timeout,
                "on_failure": on_failure,
                "budget": budget,
            },
        }
        self._drafts: list[Draft] = []
        self._first: dict[str, int] = {}
        self._edges: list[tuple[NodeRef, NodeRef]] = []
        self._loaded: DagSpec | None = None

    @classmethod
    def load(cls, document: str | bytes | Mapping[str, Any] | DagSpec) -> Dag:
        """The DAG that a document describes; it is as it stands there, and takes no more nodes.

        Args:
            document: YAML or JSON text, a JSON value that was parsed already, or a spec.

        Raises:
            InvalidInput: The document is wrong; with `findings`.
        """
        if not isinstance(document, DagSpec):
            document = load_yaml(document) if isinstance(document, str | bytes) else load_value(document)
        check_spec(document)
        dag = cls(document.name)
        dag._loaded = document
        return dag

    def __repr__(self) -> str:
        count = len(self._drafts if self._loaded is None else self._loaded.nodes)
        return f"<dag {self.name}: {count} nodes>"

    async def __call__(self, input: Any = None, /) -> Any:
        """Run it as a child and wait for its result. Only inside a workflow.

        Raises:
            NotInWorkflow: Called elsewhere; start it with a client.
            RunFailed: The child failed.
        """
        run = current_run()
        if run is None:
            raise NotInWorkflow(f"{self.name!r} is a dag: start it with `await client.run(dag, input)`")
        return await run.call_dag(self.compile(), input)

    @overload
    def step(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def step(self, fn: Callable[P, R], /) -> Step[P, R]: ...
    @overload
    def step(self, /, **options: Unpack[DeclaredStepOptions]) -> StepDecorator: ...
    def step(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Declare a function as a step and as a node: `@etl.step` or `@etl.step(when="size(fetch) > 0")`.

        A parameter named after a node receives its output, `input` the run's input, `variables` the constants. The
        node's id is the function's name; the step is registered as `<dag>.<function>`.

        Raises:
            InvalidStep: The function cannot be a step.
        """
        declare = functools.partial(self._declare, options=options, over=None)
        return declare if fn is None else declare(fn)

    @overload
    def map(
        self,
        /,
        *,
        over: str,
        concurrency: int = 50,
        on_error: OnError = "fail_fast",
        item_name: str = "item",
        **options: Unpack[DeclaredStepOptions],
    ) -> StepDecorator: ...
    @overload
    def map(self, fn: Callable[..., Any], /) -> NoReturn: ...
    def map(self, fn: object = None, /, *, over: str = "", **options: Any) -> StepDecorator:
        """Declare a function as a node that runs once per item: `@etl.map(over="clean", concurrency=50)`.

        The parameter `item` (or `item_name`) receives the item, `index` its position; the others are as for `step`.

        Args:
            over: An expression for a list or a count.
            concurrency: How many items run at the same time, 1 to 500.
            on_error: `fail_fast`, or `collect`: all items run and failed ones are `None`.
            item_name: The name of the item.
            **options: As for `step`.

        Raises:
            InvalidStep: `over` is missing.
        """
        if fn is not None or not over:
            raise InvalidStep(f'dag {self.name!r}: map needs a list to run over: @dag.map(over="...")')
        mapped = {"over": over} | {name: options.pop(name) for name in _OF_MAP & options.keys()}
        return cast(StepDecorator, functools.partial(self._declare, options=options, over=mapped))

    def _declare(
        self, fn: Callable[..., Any], *, options: Mapping[str, Any], over: Mapping[str, Any] | None
    ) -> Step[..., Any]:
        if isinstance(fn, Step):
            declared: Step[..., Any] = cast("Step[..., Any]", fn)
        else:
            of_step = {name: value for name, value in options.items() if name in NODE_AND_STEP | STEP_ONLY}
            declared = step(name=f"{self.name}.{getattr(fn, '__name__', fn)}", **of_step)(fn)
        self._add_step(declared, options, over, declares=True)
        return declared

    def add_step(self, step: Step[..., Any] | str, /, **options: Unpack[StepNodeOptions]) -> str:
        """Add a node that calls a step.

        Args:
            step: A declared step, whose parameters are bound by name as in `Dag.step`; or a step's name, with all its
                `arguments`.
            **options: `id` (default: the step's name after its last dot), `arguments` (values and templates by
                parameter; they go before binding by name), `depends_on`, `when`, `timeout`, `retry`, `local`, ...

        Returns:
            The node's id.
        """
        return self._add_step(step, options, None)

    def add_map(
        self,
        step: Step[..., Any] | str,
        /,
        *,
        over: str,
        concurrency: int = 50,
        on_error: OnError = "fail_fast",
        item_name: str = "item",
        **options: Unpack[StepNodeOptions],
    ) -> str:
        """Add a node that calls a step once per item; arguments as for `add_step` and `map`."""
        mapped = {"over": over, "concurrency": concurrency, "on_error": on_error, "item_name": item_name}
        return self._add_step(step, options, mapped)

    def _add_step(
        self,
        step: Step[..., Any] | str,
        options: Mapping[str, Any],
        over: Mapping[str, Any] | None,
        *,
        declares: bool = False,
    ) -> str:
        name = step_name(step, self.name)
        fields = dict(options)
        node_id = (
            fields.pop("id", None) or (name if isinstance(step, str) else step.__name__).rpartition(".")[2]
        )
        arguments = fields.pop("arguments", {})
        for key in STEP_ONLY:
            fields.pop(key, None)
        config: dict[str, Any] = {"step": name}
        if isinstance(step, Step):
            fields = {**own_fields(step), **fields}
            config.update(own_config(step))
        draft = self._draft(node_id, STEP_TYPE, config, {**fields, "map": over})
        draft.arguments = arguments
        draft.step, draft.declared = step if isinstance(step, Step) else None, declares
        self._put(draft)
        return draft.id

    def node(
        self,
        id: str,
        *,
        executor: str,
        config: Mapping[str, Any] | None = None,
        **options: Unpack[ExecutorNodeOptions],
    ) -> str:
        """Add a node that an executor carries out; with `map`, once per item.

        Returns:
            The node's id.
        """
        return self._put(self._draft(id, executor, dict(config or {}), options))

    def add_switch(
        self,
        id: str,
        cases: Mapping[str, NodeRef | Sequence[NodeRef]],
        *,
        default: NodeRef | Sequence[NodeRef] = (),
        **options: Unpack[NodeOptions],
    ) -> str:
        """Add a choice among nodes: those of the first case whose expression is true, else `default`; the others are
        skipped. The nodes that it names depend on it.

        Args:
            id: The node's id.
            cases: Expressions, each with the node or nodes to go on with.
            default: Where to go if none is true.
            **options: `depends_on`, `when`, ...

        Returns:
            The node's id.
        """
        config = {"cases": [{"when": when, "to": listed(to)} for when, to in cases.items()]}
        return self._put(self._draft(id, "switch", config | {"default": listed(default)}, options))

    def add_approval(
        self,
        id: str,
        prompt: str,
        *,
        form: Mapping[str, Any] | type | None = None,
        **options: Unpack[NodeOptions],
    ) -> str:
        """Add a wait for a person's decision, which is the node's output; `timeout` says how long.

        Returns:
            The node's id.
        """
        schema = schema_of(form, f"the form of {id!r}")
        return self._put(self._draft(id, "approval", given(prompt=prompt, form=schema), options))

    def add_wait(
        self,
        id: str,
        event: str,
        *,
        schema: Mapping[str, Any] | type | None = None,
        **options: Unpack[NodeOptions],
    ) -> str:
        """Add a wait for a message to the run, which is the node's output; `timeout` says how long.

        Returns:
            The node's id.
        """
        config = given(event=event, schema=schema_of(schema, f"the schema of {id!r}"))
        return self._put(self._draft(id, "wait", config, options))

    def add_timer(
        self,
        id: str,
        duration: timedelta | str | None = None,
        *,
        until: str | None = None,
        **options: Unpack[NodeOptions],
    ) -> str:
        """Add a wait for a duration, or until a time in ISO 8601; both may be templates.

        Returns:
            The node's id.
        """
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
        return self._put(self._draft(id, "timer", given(duration=seconds, until=until), options))

    def add_workflow(
        self,
        id: str,
        workflow: Workflow[..., Any] | Dag | str,
        *,
        input: Any = None,
        **options: Unpack[WorkOptions],
    ) -> str:
        """Add a child run of another workflow, written as code or as a DAG; its result is the node's output.

        Args:
            id: The node's id.
            workflow: The workflow, or its name; a DAG becomes part of this document as it is now.
            input: The child's input: a value or a template.
            **options: `depends_on`, `when`, `timeout`, ...; with `map`, one child per item.

        Returns:
            The node's id.
        """
        child = self._inlined(workflow) if isinstance(workflow, Dag) else workflow_name(workflow, self.name)
        config = given(workflow=child, input=input)
        return self._put(self._draft(id, "workflow", config, options))

    def _inlined(self, dag: Dag) -> dict[str, Any]:
        if dag is self:
            raise InvalidWorkflow(f"dag {self.name!r} cannot be a part of itself: use a loop")
        return dag.compile().document()

    def add_edge(self, source: NodeRef, target: NodeRef) -> None:
        """Make `target` wait for `source`."""
        self._refuse_if_loaded("an edge")
        self._edges.append((source, target))

    def compile(self, *, expressions: Expressions | None = None) -> DagSpec:
        """The document, checked except for what only workers know: executors, configs, other workflows.

        Args:
            expressions: The expression language. Default: CEL.

        Raises:
            InvalidWorkflow: A parameter is neither a node nor has a default, or `depends_on` names a step that is not
                in this DAG.
            InvalidInput: The document is wrong; with `findings`.
        """
        if self._loaded is not None:
            return self._loaded
        return Compiler(self.name, self._drafts, self._edges).compile(self._head, expressions)

    def _draft(self, node_id: str, kind: str, config: dict[str, Any], options: Mapping[str, Any]) -> Draft:
        fields = {name: value for name, value in options.items() if value is not None}
        depends_on = listed(fields.pop("depends_on", ()))
        if (retry := fields.get("retry")) is not None:
            fields["retry"] = RetrySpec.of(retry_policy(retry))
        return Draft(node_id, kind, config, fields, depends_on)

    def _put(self, draft: Draft) -> str:
        self._refuse_if_loaded(f"node {draft.id!r}")
        index = self._first.setdefault(draft.id, len(self._drafts))
        old = self._drafts[index] if index < len(self._drafts) else None
        if old is not None and draft.redeclares(old):
            # A notebook cell that runs again replaces its node; any other second use of an id is an error.
            self._drafts[index] = draft
        else:
            self._drafts.append(draft)
        return draft.id

    def _refuse_if_loaded(self, more: str) -> None:
        if self._loaded is not None:
            raise InvalidWorkflow(
                f"dag {self.name!r} is a loaded document and takes nothing more, as {more}: write it there"
            )
