"""Holdfast: Python functions that finish. Durable workflows on Temporal, with the server included.

```python
@step
async def charge(order: Order) -> Receipt: ...

@workflow
async def fulfil(order: Order) -> Shipment:
    receipt = await charge(order)
    return await ship(order, receipt)

async with Client.embedded() as client, Worker(client, [fulfil]):
    shipment = await client.run(fulfil, order)
```
"""

import importlib
from typing import TYPE_CHECKING

from holdfast.authoring.depends import Depends as Depends
from holdfast.authoring.info import StepInfo as StepInfo
from holdfast.authoring.info import step_info as step_info
from holdfast.authoring.maps import map_steps as map_steps
from holdfast.authoring.registry import register_executor as register_executor
from holdfast.authoring.step import Step as Step
from holdfast.authoring.step import step as step
from holdfast.authoring.waits import Decision as Decision
from holdfast.authoring.waits import approval as approval
from holdfast.authoring.waits import continue_as_new as continue_as_new
from holdfast.authoring.waits import deprecate_patch as deprecate_patch
from holdfast.authoring.waits import emit as emit
from holdfast.authoring.waits import now as now
from holdfast.authoring.waits import patched as patched
from holdfast.authoring.waits import random as random
from holdfast.authoring.waits import set_state as set_state
from holdfast.authoring.waits import uuid4 as uuid4
from holdfast.authoring.waits import wait_for as wait_for
from holdfast.authoring.workflow import Workflow as Workflow
from holdfast.authoring.workflow import workflow as workflow
from holdfast.breaking import Breaker as Breaker
from holdfast.client.client import Client as Client
from holdfast.client.run import Run as Run
from holdfast.engine.data.refs import Ref as Ref
from holdfast.engine.plugin import Plugin as Plugin
from holdfast.engine.worker import Worker as Worker
from holdfast.errors import AlreadyDecided as AlreadyDecided
from holdfast.errors import AlreadyStarted as AlreadyStarted
from holdfast.errors import BudgetExceeded as BudgetExceeded
from holdfast.errors import Conflict as Conflict
from holdfast.errors import EventsLost as EventsLost
from holdfast.errors import HoldfastError as HoldfastError
from holdfast.errors import InvalidConfiguration as InvalidConfiguration
from holdfast.errors import InvalidExecutor as InvalidExecutor
from holdfast.errors import InvalidInput as InvalidInput
from holdfast.errors import InvalidStep as InvalidStep
from holdfast.errors import InvalidWorkflow as InvalidWorkflow
from holdfast.errors import NonDeterministic as NonDeterministic
from holdfast.errors import NotAllowed as NotAllowed
from holdfast.errors import NotFound as NotFound
from holdfast.errors import NotInWorkflow as NotInWorkflow
from holdfast.errors import PayloadTooLarge as PayloadTooLarge
from holdfast.errors import Permanent as Permanent
from holdfast.errors import RateLimited as RateLimited
from holdfast.errors import RetryAfter as RetryAfter
from holdfast.errors import RunCancelled as RunCancelled
from holdfast.errors import RunClosed as RunClosed
from holdfast.errors import RunFailed as RunFailed
from holdfast.errors import RunTerminated as RunTerminated
from holdfast.errors import RunTimedOut as RunTimedOut
from holdfast.errors import StepFailed as StepFailed
from holdfast.errors import Unavailable as Unavailable
from holdfast.errors import WaitTimeout as WaitTimeout
from holdfast.options import ExecutorOptions as ExecutorOptions
from holdfast.options import Limit as Limit
from holdfast.options import RetryPolicy as RetryPolicy
from holdfast.options import StepOptions as StepOptions
from holdfast.options import WorkflowOptions as WorkflowOptions
from holdfast.run_filter import RunFilter as RunFilter
from holdfast.secrets import SecretSource as SecretSource
from holdfast.states import RunState as RunState
from holdfast.states import StepState as StepState

if TYPE_CHECKING:
    from holdfast.authoring.dag import Dag as Dag
    from holdfast.authoring.execution import template as template
    from holdfast.authoring.executor import Executor as Executor
    from holdfast.authoring.executor_context import ExecutorContext as ExecutorContext

_LATER = {
    "Dag": "holdfast.authoring.dag",
    "Executor": "holdfast.authoring.executor",
    "ExecutorContext": "holdfast.authoring.executor_context",
    "template": "holdfast.authoring.execution",
}
"""What stands on pydantic's models, whose import takes half of the time that importing all of Holdfast takes."""


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AlreadyDecided",
    "AlreadyStarted",
    "Breaker",
    "BudgetExceeded",
    "Client",
    "Conflict",
    "Dag",
    "Decision",
    "Depends",
    "EventsLost",
    "Executor",
    "ExecutorContext",
    "ExecutorOptions",
    "HoldfastError",
    "InvalidConfiguration",
    "InvalidExecutor",
    "InvalidInput",
    "InvalidStep",
    "InvalidWorkflow",
    "Limit",
    "NonDeterministic",
    "NotAllowed",
    "NotFound",
    "NotInWorkflow",
    "PayloadTooLarge",
    "Permanent",
    "Plugin",
    "RateLimited",
    "Ref",
    "RetryAfter",
    "RetryPolicy",
    "Run",
    "RunCancelled",
    "RunClosed",
    "RunFailed",
    "RunFilter",
    "RunState",
    "RunTerminated",
    "RunTimedOut",
    "SecretSource",
    "Step",
    "StepFailed",
    "StepInfo",
    "StepOptions",
    "StepState",
    "Unavailable",
    "WaitTimeout",
    "Worker",
    "Workflow",
    "WorkflowOptions",
    "approval",
    "continue_as_new",
    "deprecate_patch",
    "emit",
    "map_steps",
    "now",
    "patched",
    "random",
    "register_executor",
    "set_state",
    "step",
    "step_info",
    "template",
    "uuid4",
    "wait_for",
    "workflow",
]
