"""What a config lends: entries of its `tools`, each naming a step or an executor that the run calls when somebody asks
for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from holdfast.authoring.next_call import FURTHER_CALLS, TOOLS
from holdfast.errors import InvalidInput
from holdfast.spec.cel_values import is_list, is_map

if TYPE_CHECKING:
    from holdfast.authoring.executor import Executor

NAMED: Final = ("step", "executor")
"""What an entry is lent by; one without either only describes a function, and is called by nobody."""


def lent(
    executor: type[Executor[Any, Any]], config: Mapping[str, Any]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The entries of a config that are lent, with their places."""
    field = executor.Config.model_fields.get("tools")
    entries: object = config.get("tools") if field is not None and field.json_schema_extra == TOOLS else None
    for place, entry in enumerate(entries if is_list(entries) else ()):
        if is_map(entry) and any(entry.get(key) is not None for key in NAMED):
            yield place, entry


def without_tool_configs(executor: type[Executor[Any, Any]], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same without the configs of what is lent: who asks for a call needs none of its values and secrets."""
    places = {place for place, _ in lent(executor, config)}
    if not places:
        return config
    tools: Sequence[Any] = config["tools"]
    return {
        **config,
        "tools": [
            {key: value for key, value in entry.items() if key != "config"} if place in places else entry
            for place, entry in enumerate(tools)
        ],
    }


def ensure_written(
    executor: type[Executor[Any, Any]], written: Mapping[str, Any], rendered: Mapping[str, Any]
) -> None:
    """Refuse tools that are not in the document: what comes from outside must not say what is called.

    Raises:
        InvalidInput: A template made the entry, or what it names.
    """
    known = dict(lent(executor, written))
    for place, entry in lent(executor, rendered):
        for key in (*NAMED, "takes", "name"):
            if entry.get(key) != known.get(place, {}).get(key):
                raise InvalidInput(
                    f"tools[{place}]: what is lent stands in the document: write out its {key}, without templates"
                )


def further_calls(executor: type[Executor[Any, Any]], config: Mapping[str, Any]) -> Iterator[str]:
    """The fields of a config that make calls follow."""
    for name, field in executor.Config.model_fields.items():
        if field.json_schema_extra == FURTHER_CALLS and config.get(name) is not None:
            yield name
    if any(lent(executor, config)):
        yield "tools"


def problems_of_tools(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the entries of `tools` by themselves, one sentence each."""
    problems: list[str] = []
    names: list[object] = []
    entries = [{key: value for key, value in entry.items() if value is not None} for entry in entries]
    for place, entry in enumerate(entries):
        by = [key for key in NAMED if key in entry]
        names.append(entry.get("name") or next((entry[key] for key in by), None))
        if len(by) > 1 or not names[-1]:
            problems.append(f"tools[{place}]: it names one of step and executor, or it has a name of its own")
        elif by != ["executor"] and not {"takes", "config"}.isdisjoint(entry):
            problems.append(f"tools[{place}]: takes and config are for executors")
        elif by and "parameters" in entry:
            problems.append(f"tools[{place}]: parameters are for what is only described")
    if any(names.count(name) > 1 for name in names if name):
        problems.append("tools: two have the same name")
    if 0 < sum(entry.keys().isdisjoint(NAMED) for entry in entries) < len(entries):
        problems.append("tools: some are called here and some are not; the answer would wait for both")
    return problems
