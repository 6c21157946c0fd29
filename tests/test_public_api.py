"""What `from holdfast import ...` offers. A change here is a change for users: it belongs in CHANGELOG.md."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import HoldfastError, error_types

PUBLIC = """
AlreadyDecided AlreadyStarted Breaker BudgetExceeded Client Conflict Dag Decision Depends EventsLost Executor
ExecutorContext ExecutorOptions HoldfastError InvalidConfiguration InvalidExecutor InvalidInput InvalidStep
InvalidWorkflow Limit NonDeterministic NotAllowed NotFound NotInWorkflow PayloadTooLarge Permanent Plugin
RateLimited Ref RetryAfter RetryPolicy Run RunCancelled RunClosed RunFailed RunFilter RunState RunTerminated
RunTimedOut SecretSource Step StepFailed StepInfo StepOptions StepState Unavailable WaitTimeout Worker Workflow
WorkflowOptions approval continue_as_new deprecate_patch emit map_steps now patched random register_executor
set_state step step_info template uuid4 wait_for workflow
"""


def test_the_public_names_are_these() -> None:
    assert holdfast.__all__ == sorted(holdfast.__all__)
    assert holdfast.__all__ == PUBLIC.split()


def test_the_package_only_imports() -> None:
    tree = ast.parse(Path(inspect.getfile(holdfast)).read_text("utf-8"))
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert functions == ["__getattr__"]  # for what takes long to import
    kinds = {type(node) for node in tree.body[1:]} - {ast.FunctionDef}
    assert kinds == {ast.Import, ast.ImportFrom, ast.Assign, ast.If, ast.Expr}


@pytest.mark.parametrize("name", PUBLIC.split())
def test_a_public_name_has_a_docstring(name: str) -> None:
    assert (getattr(holdfast, name).__doc__ or "").strip()


def test_every_error_that_a_user_may_catch_is_public() -> None:
    groups = {"FixInput", "TryAgain", "GiveUp"}
    missing = {cls.__name__ for cls in error_types().values()} - set(holdfast.__all__) - groups
    assert not missing
    assert issubclass(holdfast.RunFailed, HoldfastError)
