"""Packages with executors, as if they were installed: good ones, and bad ones of every kind."""

from __future__ import annotations

from pathlib import Path

GOOD = """
from pydantic import BaseModel, JsonValue
from holdfast import Executor, ExecutorContext, ExecutorOptions

print("the good package is imported")


class GoodConfig(BaseModel, extra="forbid", use_attribute_docstrings=True):
    times: int = 2
    '''How often.'''


class Good(Executor[GoodConfig, list[JsonValue]]):
    '''Repeats its input.'''

    type = "good"
    options = ExecutorOptions(has_effects=False, idempotent=True, local=True)

    async def execute(self, ctx: ExecutorContext, config: GoodConfig, input: JsonValue) -> list[JsonValue]:
        return [input] * config.times
"""

OPEN = """
from pydantic import BaseModel
from holdfast import Executor


class OpenConfig(BaseModel):
    anything: str = ""


class Open(Executor[OpenConfig, str]):
    type = "open"

    async def execute(self, ctx, config, input):
        return "never"
"""

SOURCES = {
    "good": (GOOD, {"good": "Good"}),
    "unfinished": ("import a_library_that_nobody_has", {"unfinished": "Unfinished"}),
    "leaving": ("raise SystemExit('no licence')", {"leaving": "Leaving"}),
    "open": (OPEN, {"open": "Open"}),
    "misspelt": (GOOD, {"misspelt": "Good"}),
    "usurper": (GOOD.replace('"good"', '"transform"'), {"transform": "Good"}),
    "nothing": ("", {"nothing": "Nothing"}),
    "wrong": ("Wrong = 1", {"wrong": "Wrong"}),
}
"""Source and entry points by the name of the package."""

PROBLEMS = {
    "unfinished": "executor 'unfinished' of package 'hf-unfinished' cannot be loaded from 'hf_unfinished:Unfinished': "
    "ModuleNotFoundError: No module named 'a_library_that_nobody_has'",
    "leaving": "executor 'leaving' of package 'hf-leaving' cannot be loaded from 'hf_leaving:Leaving': "
    "SystemExit: no licence",
    "open": "OpenConfig takes unknown fields, so that a misspelt one would be ignored",
    "misspelt": "the entry point 'misspelt' of package 'hf-misspelt' names an executor of the type 'good'",
    "transform": "two executors have the type 'transform': ",
    "nothing": "executor 'nothing' of package 'hf-nothing' cannot be loaded from 'hf_nothing:Nothing': AttributeError",
    "wrong": "the entry point 'wrong' of package 'hf-wrong' names 'hf_wrong:Wrong', which is no Executor class: 1",
}
"""What is said of each broken type."""


def install(folder: Path, *names: str) -> None:
    """Put packages into a folder, which must be on the path of who is to find them.

    Args:
        folder: Where to.
        names: Of `SOURCES`.
    """
    for name in names:
        source, entries = SOURCES[name]
        (folder / f"hf_{name}.py").write_text(source, "utf-8")
        info = folder / f"hf_{name}-1.2.3.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hf-{name}\nVersion: 1.2.3\n", "utf-8")
        lines = [f"{kind} = hf_{name}:{part}" for kind, part in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[holdfast.executors]", *lines, ""]), "utf-8")
