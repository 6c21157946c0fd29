"""One call of an executor: what travels to the worker, and what the worker makes of it."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticSerializationError, ValidationError, to_json, to_jsonable_python

from holdfast.authoring.config_schema import config_schema, spellings
from holdfast.authoring.depends import providers_here
from holdfast.authoring.executor_context import ExecutorContext, context_of
from holdfast.authoring.executors import EXECUTOR
from holdfast.authoring.info import StepInfo, current_info
from holdfast.authoring.lent import ensure_written, without_tool_configs
from holdfast.authoring.next_call import NextCall, merge_patch
from holdfast.authoring.next_secrets import marked, texts, unmarked
from holdfast.errors import InvalidInput, StepFailed
from holdfast.misfit import invalid
from holdfast.redaction import Redactor, redacting_logs, text_of
from holdfast.secrets import Secrets
from holdfast.spec.cel_values import is_list, is_map

if TYPE_CHECKING:
    from holdfast.authoring.executor import Executor


@dataclass(frozen=True)
class Template:
    """Text with `{{ secrets.NAME }}` in it. Made by `template`."""

    text: str


def template(text: str) -> Template:
    """Text of a config in which `{{ secrets.NAME }}` stands for a secret, put in where the executor runs.

    Every other string that code gives to an executor is taken as it is, whatever it holds. So write templates yourself,
    and never build one from what came from outside.

    Example:
        `await Http.call({"url": url, "headers": {"Authorization": template("Bearer {{ secrets.API_KEY }}")}})`

    Raises:
        InvalidInput: It is no template, or names something else than secrets.
    """
    from holdfast.spec.templates import names

    others = names(text) - {"secrets"}
    if others:
        raise InvalidInput(
            f"template {text!r} names {', '.join(sorted(others))}: in code only secrets have a name; what is no secret "
            "goes into the config as it is"
        )
    return Template(text)


def call_of(
    executor: type[Executor[Any, Any]],
    config: object,
    input: object,
    patch: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What travels for a call in code: the same as for a node of a DAG.

    Args:
        executor: What is called.
        config: Of the first call.
        input: See `Executor.call`.
        patch: Of a call that follows from another's output: what is different in it.

    Raises:
        InvalidInput: The config is neither the executor's nor a mapping, or cannot be written as JSON.
    """
    if isinstance(config, executor.Config):
        config = config.model_dump(mode="json", by_alias=True, round_trip=True)
    elif not isinstance(config, Mapping):
        raise InvalidInput(
            f"{executor.__qualname__}.call takes a {executor.Config.__qualname__} or a mapping, got {config!r}"
        )
    values: dict[str, str] = {}
    call = {"config": _literal(config, values), "values": values, "own": None, "input": input, "code": True}
    return call if patch is None else {**call, "patch": patch}


def _literal(value: Any, values: dict[str, str]) -> Any:
    """The same as a config in which only what `template` made is a template."""
    if isinstance(value, Template):
        return value.text
    if isinstance(value, str):
        if "{{" not in value:
            return str(value)
        name = f"v{len(values)}"
        values[name] = str(value)
        return f"{{{{ {name} }}}}"
    if is_map(value):
        return {str(key): _literal(item, values) for key, item in value.items()}
    if is_list(value):
        return [_literal(item, values) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    try:
        return _literal(to_jsonable_python(value), values)
    except PydanticSerializationError as error:
        raise InvalidInput(f"a config holds a {type(value).__qualname__}: {error}") from error


async def prepare(
    executor: Executor[Any, Any], call: Mapping[str, Any], ctx: ExecutorContext, redactor: Redactor
) -> BaseModel:
    """The config of a call: its templates rendered once with values and secrets, checked.

    Raises:
        InvalidInput: A template has no value, or the config does not fit.
        NotFound: There is no such secret.
    """
    from holdfast.spec.templates import expressions, is_light, render
    from holdfast.spec.templates import secrets as names_of_secrets

    config = without_tool_configs(type(executor), call["config"])
    where = f"The config of {ctx.node!r} (executor {executor.type!r})"
    if not call.get("code") and (problem := templates_in_code(type(executor), config)):
        raise InvalidInput(f"{where}: {problem}")
    named = names_of_secrets(config)
    if any(True for _ in expressions(config)):
        found = {name: await ctx.secrets.get(name) for name in sorted(named)}
        if is_light(config, call["values"]):  # going to a thread and back takes longer than that
            config = render(config, call["values"])
        else:
            config = await asyncio.to_thread(render, config, call["values"], secrets=found.__getitem__)
    # After the rendering: what a service said is no template.
    patch = await unmarked(call.get("patch", {}), config, named, ctx.secrets)
    config, given = merge_patch(config, patch), call.get("given", {})
    ctx.secrets.refused = frozenset(texts(given)) - frozenset(texts(config))
    config = {**config, **given}
    ensure_written(type(executor), call["config"], config)
    return checked(executor, config, where, redactor)


def templates_in_code(executor: type[Executor[Any, Any]], config: Mapping[str, Any]) -> str:
    """What is wrong with a config whose code holds templates; empty for any other."""
    fields = [
        name
        for field in executor.options.code_fields
        for name in spellings(executor.Config, field)
        if _has_template(config.get(name))
    ]
    if not fields:
        return ""
    return (
        f"{', '.join(fields)}: this is code, and a template would make code of values; give values by the fields that "
        "are meant for them"
    )


def _has_template(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" in value
    if is_map(value):
        return any(map(_has_template, value.values()))
    return is_list(value) and any(map(_has_template, value))


def checked(executor: Executor[Any, Any], config: object, where: str, redactor: Redactor) -> BaseModel:
    """A rendered config as the executor's model.

    Raises:
        InvalidInput: It does not fit; the message names the fields.
    """
    try:
        made: BaseModel = executor.Config.model_validate_json(to_json(config), by_alias=True, by_name=True)
    except ValidationError as error:
        schema = config_schema(executor.Config)
        shown = invalid(error, where, redact=redactor.text, schema=schema, value=json.loads(to_json(config)))
        raise shown from None  # pydantic's own text quotes the values
    problems = executor.validate(made)
    if problems:
        raise InvalidInput(redactor.text(f"{where}: {'; '.join(problems)}"))
    return made


def without_secrets(
    result: Any, adapter: TypeAdapter[Any], redactor: Redactor, secrets: Secrets, kind: str
) -> Any:
    """A result in which `***` stands for the secrets of its attempt, and markers do in the call that follows.

    Raises:
        InvalidInput: A secret stands where `***` does not fit the declared type, or no marker can.
    """
    following = getattr(result, "next", None)
    if isinstance(following, NextCall):
        result = copy.copy(result)
        object.__setattr__(result, "next", marked(following, secrets, redactor))  # it may be frozen
    if not redactor.knows_any:
        return result
    if isinstance(result, bytes):
        return redactor.value(result.decode("latin-1")).encode("latin-1")
    try:
        plain = to_jsonable_python(result, by_alias=True, round_trip=True, inf_nan_mode="null")
    except PydanticSerializationError:
        return result  # whoever encodes it says what is wrong with it
    hidden = redactor.value(plain)
    if hidden == plain:
        return result
    try:
        made = adapter.validate_json(to_json(hidden), by_alias=True, by_name=True)
    except ValidationError:
        raise InvalidInput(
            f"the result of executor {kind!r} holds a secret where {adapter!r} does not let *** stand"
        ) from None
    if isinstance(following, NextCall):
        object.__setattr__(made, "next", result.next)  # it may be left out of what is written
    return made


async def execute_here(kind: type[Executor[Any, Any]], call: Mapping[str, Any]) -> Any:
    """Carry a call out at once, outside a workflow.

    Raises:
        InvalidInput: The config does not fit.
        StepFailed: The executor raised an error that quotes a secret, which is hidden here.
    """
    around, redactor = current_info(), Redactor()
    if around is None:
        key = uuid.uuid4().hex
        info = StepInfo(
            run_id="", workflow="", step=EXECUTOR + kind.type, attempt=1, idempotency_key=key, token=""
        )
    else:
        around.executor_calls[kind.type] += 1
        key = f"{around.idempotency_key}/{kind.type}-{around.executor_calls[kind.type]}"
        info = dataclasses.replace(around, _record=None)  # two calls would overwrite each other's records
    async with providers_here() as providers:
        with redacting_logs(redactor):
            ctx = await context_of(
                info, kind=kind.type, node=info.step, key=key, providers=providers, redactor=redactor
            )
            executor = kind()
            try:
                config = await prepare(executor, call, ctx, redactor)
                result = await executor.execute(ctx, config, call["input"])
                return without_secrets(result, kind.step.signature.result, redactor, ctx.secrets, kind.type)
            except Exception as exc:
                said = text_of(exc)
                if redactor.text(said) == said:
                    raise
                failed = StepFailed(redactor.text(said), step=kind.type, error_type=type(exc).__name__)
                raise failed from redactor.exception(exc)
