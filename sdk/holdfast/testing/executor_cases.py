"""What `executor_contract` is given, checked: a slip there would make checks that check nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel

from holdfast.authoring.executor import Executor
from holdfast.errors import InvalidInput
from holdfast.redaction import RESULT_CHARS


@dataclass(frozen=True)
class ExecutorCase:
    """One use of an executor.

    Args:
        config: As a document holds it; `{{ secrets.NAME }}` in strings stands for what `secrets` gives.
        input: What it works on.
    """

    config: Mapping[str, Any]
    input: Any = None


def check_executor(executor: object) -> None:
    """Refuse what is no executor that a worker could use.

    Raises:
        InvalidInput: It is an instance, no executor, or has no `type`.
    """
    if isinstance(executor, Executor):
        kind = type(cast("object", executor)).__qualname__
        raise InvalidInput(f"executor_contract takes the class: write {kind}, not {kind}()")
    if not (inspect.isclass(executor) and issubclass(executor, Executor)):
        raise InvalidInput(f"executor_contract takes a subclass of Executor, got {executor!r:.200}")
    if not hasattr(cast("object", executor), "step"):
        raise InvalidInput(
            f"{executor.__qualname__} has no `type`, and so is no executor that nodes could name"
        )


def cases_of(name: str, given: Sequence[Mapping[str, Any] | ExecutorCase], least: int) -> list[ExecutorCase]:
    """The cases of one argument.

    Args:
        name: Of the argument.
        given: What it was given.
        least: How many there are at least, all different.

    Raises:
        InvalidInput: They are too few, or something else than configs.
    """
    whole: object = given
    if isinstance(whole, Mapping | str | ExecutorCase | BaseModel):
        raise InvalidInput(f"{name}= takes a list of configs, got {whole!r:.200}: put it in brackets")
    cases = [_case(f"{name}[{index}]", one) for index, one in enumerate(given)]
    if len(cases) < least:
        raise InvalidInput(
            f"executor_contract needs {least} {name} config{'s' if least > 1 else ''} at least, got {len(cases)}"
        )
    if least > 1:
        for index, case in enumerate(cases):
            if case in cases[:index]:
                raise InvalidInput(
                    f"{name}[{index}] is the same as {name}[{cases.index(case)}]: {case.config!r:.200}"
                )
    return cases


def _case(place: str, given: object) -> ExecutorCase:
    case = given if isinstance(given, ExecutorCase) else ExecutorCase(cast("Mapping[str, Any]", given))
    config = cast("object", case.config)
    if isinstance(config, BaseModel):
        raise InvalidInput(
            f"{place} is a {type(config).__qualname__}: write the config as a document holds it, {{...}}"
        )
    if not isinstance(config, Mapping):
        raise InvalidInput(f"{place} is {config!r:.200}: a config is a mapping, as a document holds it")
    return case


def check_secrets(secrets: Mapping[str, str]) -> None:
    """Refuse secrets that could not be found in what is written.

    Raises:
        InvalidInput: One is no text, or too short.
    """
    for name, value in cast("Mapping[str, object]", secrets).items():
        if not isinstance(value, str) or len(value) < RESULT_CHARS:
            raise InvalidInput(
                f"secrets[{name!r}] is to be a text of {RESULT_CHARS} characters or more: shorter ones are not "
                "hidden in outputs, since they could be any word"
            )


def check_overrides(overrides: Mapping[Callable[[], Any], Any]) -> None:
    """Refuse what no provider is replaced by.

    Raises:
        InvalidInput: A key is no function.
    """
    for provider in cast("Mapping[object, Any]", overrides):
        if not callable(provider):
            raise InvalidInput(
                f"overrides= has the key {provider!r:.200}: write the provider itself, as for ctx.get"
            )
