"""What this process finds wrong with the tools that nodes lend: steps and executors that the run calls for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.authoring.execution import templates_in_code
from holdfast.authoring.executor import Executor
from holdfast.authoring.lent import NAMED, further_calls, lent, problems_of_tools
from holdfast.authoring.registry import registry
from holdfast.errors import InvalidExecutor, InvalidStep
from holdfast.spec.cel_values import is_list, is_map
from holdfast.spec.check_config import compile_schema
from holdfast.spec.check_graph import closest
from holdfast.spec.finding import Finding
from holdfast.spec.model import DagSpec
from holdfast.spec.schema_words import has_template
from holdfast.spec.source import path_text
from holdfast.spec.templates import names


def check_tools(
    spec: DagSpec, known: Mapping[str, type[Executor[Any, Any]]], *, complete: bool
) -> Iterator[Finding]:
    """Findings about tools.

    Args:
        spec: The document.
        known: The executors of this process that its nodes name.
        complete: Whether what this process knows is all there is.
    """
    for index, node in enumerate(spec.nodes):
        if node.type not in known:
            continue
        entries = list(lent(known[node.type], node.config))
        if entries and names(node.config):  # else the executor itself says so
            tools: Any = node.config["tools"]
            for problem in problems_of_tools([one for one in tools if is_map(one)]):
                yield Finding(
                    code="HF-D031",
                    message=f"{node.id!r}: {problem}",
                    fix=f"Write what {node.type!r} takes; `holdfast executors show {node.type}` says more.",
                    node=node.id,
                    path=f"nodes[{index}].config.tools",
                )
        for place, entry in entries:
            for code, field, problem, fix in _problems(entry, complete=complete):
                path = f"nodes[{index}].config.tools[{place}]"
                yield Finding(
                    code=code,
                    message=f"{node.id!r}: tools[{place}] {problem}",
                    fix=fix,
                    node=node.id,
                    path=f"{path}.{field}" if field in entry else path,
                )


def _problems(entry: Mapping[str, Any], *, complete: bool) -> Iterator[tuple[str, str, str, str]]:
    """The code, the field, what is wrong with it, and what to do."""
    if written := [key for key in (*NAMED, "takes", "name") if has_template(entry.get(key))]:
        for key in written:
            yield "HF-D031", key, f"has a template in {key!r}", "Write out what the model may call."
        return
    if "executor" not in entry:
        yield from _of_step(str(entry["step"]), complete=complete)
        return
    kind, here = str(entry["executor"]), registry().executors.types()
    if kind not in here:
        if complete:
            yield (
                "HF-D030",
                "executor",
                f"names the executor {kind!r}, which no worker offers",
                f"{closest(kind, here)}Name a known one, or start a worker that offers it.",
            )
        return
    try:
        executor = registry().executors.find(kind)
    except InvalidExecutor:  # a worker may have a package that works
        return
    yield from _of_executor(executor, entry)


def _of_step(name: str, *, complete: bool) -> Iterator[tuple[str, str, str, str]]:
    try:
        steps = registry().steps()
    except InvalidStep:  # the worker that offers them says so
        return
    if complete and name not in steps:
        fix = f"{closest(name, steps)}Name a known step, or start a worker that offers it."
        yield "HF-D030", "step", f"names the step {name!r}, which no worker offers", fix


def _of_executor(
    executor: type[Executor[Any, Any]], entry: Mapping[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    config: object = entry.get("config", {})
    given: Mapping[str, Any] = config if is_map(config) else {}
    schema = executor.Config.model_json_schema(by_alias=True)
    fields: Mapping[str, Any] = schema.get("properties", {})
    more = f"`holdfast executors show {executor.type}` says more."
    takes: object = entry.get("takes")
    taken = [str(name) for name in takes] if is_list(takes) else []
    for name in taken:
        if name not in fields:
            problem = f"names the field {name!r}, which executor {executor.type!r} does not have"
            yield "HF-D031", "takes", problem, f"{closest(name, fields)}{more}"
        if name in given:
            yield "HF-D031", "takes", f"both gives {name!r} and leaves it to the model", "Remove one of them."
    required = [name for name in schema.get("required", []) if name not in taken]
    for problem, below in compile_schema({**schema, "required": required})(given):
        yield "HF-D031", "config", f"{path_text(['config', *below])}: {problem}", more
    for name in (*further_calls(executor, given), *further_calls(executor, dict.fromkeys(taken, True))):
        problem = f"has {name!r}, and the use of a tool is one call: none can follow"
        yield "HF-D032", "config", problem, f"Leave {name!r} out."
    if problem := templates_in_code(executor, given):
        yield "HF-D031", "config", problem, more
