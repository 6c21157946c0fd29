"""The client: one surface over the embedded server and over a cluster."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, cast, get_args

from temporalio.client import Client as TemporalClient
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import TLSConfig

from holdfast.authoring.run_id import check_id
from holdfast.authoring.workflow import Workflow
from holdfast.checks import check_name
from holdfast.client.analytics import Analytics
from holdfast.client.approvals import Approvals
from holdfast.client.breakers import Breakers
from holdfast.client.chaos import Chaos
from holdfast.client.connection import Connection, connect_cluster, connect_embedded, connect_wrapped
from holdfast.client.dead_letters import DeadLetters
from holdfast.client.events import Events
from holdfast.client.executors import Executors
from holdfast.client.quiet_exit import mark_use
from holdfast.client.run import Run
from holdfast.client.runs import Runs
from holdfast.client.start import (
    IfExists,
    check_message_name,
    check_start,
    encode_input,
    new_id,
    start,
)
from holdfast.client.steps import Steps
from holdfast.client.store import Store
from holdfast.client.triggers import Triggers
from holdfast.client.workers import Workers
from holdfast.client.workflows import Workflows
from holdfast.engine.children import DAG_WORKFLOW
from holdfast.engine.data.step_data import StepData
from holdfast.engine.start_memo import spec_memo
from holdfast.engine.telemetry.telemetry import Telemetry
from holdfast.errors import AlreadyStarted, InvalidInput, RunClosed, Unavailable
from holdfast.settings import load

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Client:
    """Starts runs and looks after them. Made by `Client.embedded()` or `Client.connect()`, used as an async context
    manager (or awaited, and closed with `close()`).

    Attributes:
        runs: All runs.
        approvals: Open approvals.
        dead_letters: What has failed for good.
        steps: Deferred steps.
        workflows: Stored workflows: documents in versions.
        workers: The processes that do the work, and what they serve.
        executors: What the type of a node may name.
        triggers: What starts runs by itself: times, events, webhooks.
        events: What happens to runs, and what is published, as it comes.
        analytics: What runs were like: counts, rates, durations, costs; exports.
        breakers: Services that fail, and are not called for a while.
        chaos: Faults on purpose, and what came of them.
        store: The history of runs, where the nouns above find it.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._served: Counter[str] = Counter()
        self.runs = Runs(self)
        self.approvals = Approvals(self)
        self.dead_letters = DeadLetters(self)
        self.steps = Steps(self)
        self.workflows = Workflows(self)
        self.workers = Workers(self)
        self.executors = Executors(self)
        self.triggers = Triggers(self)
        self.events = Events(self)
        self.analytics = Analytics(self)
        self.breakers = Breakers(self)
        self.chaos = Chaos(self)
        self.store = Store(self)

    @classmethod
    def embedded(
        cls,
        home: str | Path | None = "",
        *,
        start: bool = True,
        time_skipping: bool = False,
        metrics: str | None = None,
        via: str | None = None,
    ) -> Client:
        """A client of the server that comes with the package; it is started when it does not run.

        Args:
            home: Where its data is kept. Default: `HOLDFAST_HOME`, else `.holdfast` here or in a parent folder, else
                `.holdfast` here. `None`: in memory, gone with the last client.
            start: Whether to start the server. Without, connecting raises `Unavailable` when none runs.
            time_skipping: For tests, in memory only: long waits pass at once.
            metrics: Where this process serves metrics for Prometheus, such as `127.0.0.1:9464`. Default: nowhere.
            via: `host:port` of a proxy in front of the server, such as one that disturbs connections. Default: none.
        """
        folder = None if home is None else load(home or None).home
        return cls(
            lambda: connect_embedded(
                folder, start=start, time_skipping=time_skipping, metrics=metrics, via=via
            )
        )

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        *,
        namespace: str | None = None,
        api_key: str | None = None,
        tls: bool | TLSConfig | None = None,
        profile: str | None = None,
        metrics: str | None = None,
    ) -> Client:
        """A client of a Temporal cluster or of Temporal Cloud.

        What is not given here comes from Temporal's own variables (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`,
        `TEMPORAL_API_KEY`, `TEMPORAL_TLS_...`) and its configuration file (`temporal.toml`).

        Args:
            address: `host:port`.
            namespace: Default: `default`.
            api_key: For Temporal Cloud.
            tls: Whether to use TLS, or how.
            profile: The profile of the configuration file.
            metrics: As for `embedded`.
        """
        return cls(
            lambda: connect_cluster(
                address, namespace=namespace, api_key=api_key, tls=tls, profile=profile, metrics=metrics
            )
        )

    @classmethod
    def wrap(cls, temporal: TemporalClient) -> Client:
        """A client over a Temporal client that you have made yourself, with `holdfast.Plugin` among its plugins.

        Closing it leaves yours open.

        Args:
            temporal: A connected Temporal client.
        """
        return cls(lambda: connect_wrapped(temporal))

    async def __aenter__(self) -> Self:
        if self._connection is None:
            self._connection = await self._connect()
        mark_use()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back the place at the server."""
        self.store.close()
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        mark_use()

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise Unavailable("the client is not connected: use `async with Client.embedded() as client:`")
        return self._connection

    @property
    def temporal(self) -> TemporalClient:
        """Temporal's own client, for everything that Temporal offers beyond this one."""
        return self._open.temporal

    @property
    def data(self) -> StepData:
        """Reads results, large ones included."""
        return self._open.data

    @property
    def telemetry(self) -> Telemetry:
        """What this client and the workers on it send of themselves."""
        return self._open.telemetry

    @property
    def address(self) -> str:
        """`host:port` of the Temporal server."""
        return self._open.address

    @property
    def namespace(self) -> str:
        """The Temporal namespace."""
        return self.temporal.namespace

    @property
    def ui_url(self) -> str | None:
        """Temporal's own Web UI, where known."""
        return self._open.ui_url

    @property
    def home(self) -> Path | None:
        """Where the embedded server keeps its data; None in memory and for a cluster."""
        return self._open.home

    @property
    def files(self) -> Path | None:
        """Where the embedded server keeps its files, also one in memory; None for a cluster."""
        attachment = self._open.attachment
        return attachment.info.blobs.parent if attachment is not None else None

    @property
    def in_memory(self) -> bool:
        """Whether the server is one in memory, gone with its last client."""
        return self._open.attachment is not None and self._open.home is None

    @property
    def searchable(self) -> bool:
        """Whether the namespace has Holdfast's search attributes."""
        return self._open.searchable

    def serving(self, queue: str, change: int) -> None:
        """Called by workers: a worker of this client serves the queue, so that starts may go to it directly."""
        self._served[queue] += change

    async def start(
        self,
        workflow: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        id: str | None = None,
        if_exists: IfExists = "raise",
        queue: str | None = None,
        timeout: timedelta | None = None,
        delay: timedelta | None = None,
        priority: int | None = None,
        memo: Mapping[str, Any] | None = None,
        search_attributes: TypedSearchAttributes | None = None,
        summary: str | None = None,
        message: tuple[str, Any] | None = None,
    ) -> Run[R]:
        """Start a run; it goes on whatever happens to this process.

        Args:
            workflow: A `@workflow` function, or a `Dag`.
            *args: Its arguments (of a DAG: its input); checked before anything is sent.
            id: The run's id, up to 200 of letters, digits and `._:-`. Default: that of `with_options(id=)`, else the
                workflow's name and a random part.
            if_exists: For an id that is known, open or closed: `"raise"`, `"return"` that run, or `"restart"`: end an
                open one (without its compensation) and begin anew.
            queue: The queue whose workers run it. Default: the workflow's.
            timeout: How long it may take, then it is cancelled and compensated. Default: the workflow's.
            delay: How long to wait before it begins.
            priority: 1 (first) to 5 (last).
            memo: Notes shown with the run.
            search_attributes: Temporal search attributes, registered before.
            summary: One line for Temporal's UI.
            message: A name and a value sent with the start, as with `run.send`.

        Raises:
            InvalidInput: The id or an argument does not fit.
            PayloadTooLarge: An argument is over 50 MiB, or over 2 MiB where there is no storage.
            AlreadyStarted: The id is taken; the error's `run` is that run.
            RunClosed: A message was for a run that has ended.
            Unavailable: The server does not answer.
        """
        if if_exists not in get_args(IfExists):
            raise InvalidInput(f"if_exists={if_exists!r}: use one of {', '.join(get_args(IfExists))}")
        check_start(queue=queue, delay=delay, priority=priority, memo=memo)
        definition, sent = _definition(workflow, args)
        if timeout is not None:
            definition = definition.with_options(timeout=timeout)
        definition.check()
        values = definition.signature.bind(sent, {})
        called: str = getattr(workflow, "name", definition.name)
        run_id = check_id(id) if id is not None else definition.child_id or new_id(called)
        payloads = await encode_input(self.data, definition, values)
        target = queue or definition.options.queue
        run: Run[R] = Run(self, run_id, result=definition.signature.result)
        restart = uuid.uuid4().hex[:8] if if_exists == "restart" else None
        notes = {**(memo or {}), **spec_memo(definition, stored=self.data.stored, restart=restart)}
        try:
            await start(
                self.temporal,
                definition,
                payloads,
                run_id=run_id,
                queue=target,
                if_exists=if_exists,
                delay=delay,
                memo=notes or None,
                search_attributes=search_attributes,
                priority=priority,
                summary=summary,
                eager=self._served[target] > 0,
                searchable=self.searchable,
                dag=called if definition.name == DAG_WORKFLOW else None,
                message=(check_message_name(message[0]), message[1]) if message else None,
            )
        except WorkflowAlreadyStartedError as exc:
            if if_exists == "return" and message is None:
                return run
            if if_exists == "return":
                raise RunClosed(f"run {run_id!r} has ended; it takes no messages") from exc
            raise AlreadyStarted(
                f"run {run_id!r} exists already; use its result, another id, or if_exists='return' or 'restart'",
                run=run,
            ) from exc
        return run

    async def run(
        self,
        workflow: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        id: str | None = None,
        if_exists: IfExists = "raise",
        queue: str | None = None,
        timeout: timedelta | None = None,
    ) -> R:
        """Start a run and wait for its result; for what can be set beyond this see `start`.

        Raises:
            RunFailed: It failed.
            InvalidInput, PayloadTooLarge, AlreadyStarted, Unavailable: As `start`.
        """
        started = await self.start(workflow, *args, id=id, if_exists=if_exists, queue=queue, timeout=timeout)
        return await started.result()

    def get(self, run: str, workflow: Callable[..., Awaitable[R]] | None = None) -> Run[R]:
        """A run by its id. Nothing is read yet.

        Args:
            run: The run's id.
            workflow: The `@workflow` function, so that the result gets its type; without, it is plain JSON values.

        Raises:
            InvalidInput: The id is none.
        """
        return Run(
            self,
            check_name("run", run),
            result=_definition(workflow, ())[0].signature.result if workflow is not None else None,
        )


def _definition(
    workflow: Callable[..., Any], args: Sequence[Any]
) -> tuple[Workflow[..., Any], Sequence[Any]]:
    """What is started, and with which arguments: a DAG is an argument of the workflow that runs DAGs."""
    if isinstance(workflow, Workflow):
        return cast("Workflow[..., Any]", workflow), args
    from holdfast.client.dags import dag_start  # slow to import, and many processes have none

    return dag_start(workflow, args)
