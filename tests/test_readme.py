"""The README's first example is whole, short, and works when it is copied out."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from holdfast.engine import embedded

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def first_example() -> str:
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def test_it_opens_with_one_sentence_an_example_and_two_commands() -> None:
    opening = README.split("```python")[0].strip().splitlines()
    assert opening[0] == "# Holdfast"
    assert len([line for line in opening[1:] if line]) == 1
    commands = re.findall(r"^make (\w+)", README, re.MULTILINE)
    assert commands[:2] == ["demo", "test"]


def test_the_example_has_twelve_lines_and_is_examples_hello() -> None:
    example = first_example()
    assert len([line for line in example.splitlines() if line.strip()]) == 12
    same = ast.parse((ROOT / "examples" / "hello.py").read_text("utf-8"))
    assert ast.dump(ast.parse(example)) == ast.dump(ast.Module(body=same.body[1:], type_ignores=[]))


def test_the_example_runs_when_copied_out(tmp_path: Path) -> None:
    script, home = tmp_path / "hello.py", tmp_path / "home"
    script.write_text(first_example(), encoding="utf-8")
    environment = {**os.environ, "HOLDFAST_HOME": str(home)}
    try:
        done = subprocess.run(
            [sys.executable, script.name],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        asyncio.run(embedded.stop(home))
    assert (done.returncode, done.stdout) == (0, "Hello, world!\n"), done.stderr
