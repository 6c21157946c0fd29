"""Short scripts and commands end with the exit code they should have, never by a signal.

Temporal's native threads may abort an interpreter that ends while they still hand over results (without protection: 7
to 17 of 40 scripts). One ending in a row proves little, so each is repeated; `make crash` repeats it forty times.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.engine import embedded

ROOT = Path(__file__).parents[2]
THOROUGH = os.environ.get("FAULTS") == "thorough"

Repeat = Callable[[list[str], int], "list[subprocess.CompletedProcess[str]]"]


def readme_example() -> str:
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("exit") / "home"
    yield folder
    asyncio.run(embedded.stop(folder))


@pytest.fixture
def repeat(home: Path, tmp_path: Path) -> Repeat:
    """Runs a command again and again, two at a time."""

    def run(command: list[str], times: int) -> list[subprocess.CompletedProcess[str]]:
        def once(_: int) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command,
                cwd=tmp_path,
                env={**os.environ, "HOLDFAST_HOME": str(home)},
                capture_output=True,
                text=True,
                timeout=60,
            )

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(once, range(times)))

    return run


def codes(done: list[subprocess.CompletedProcess[str]]) -> Counter[int]:
    return Counter(one.returncode for one in done)


def test_the_readme_example_exits_with_0(repeat: Repeat, tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text(readme_example(), encoding="utf-8")
    times = 40 if THOROUGH else 8
    done = repeat([sys.executable, str(script)], times)
    assert codes(done) == {0: times}
    assert {(one.stdout, one.stderr) for one in done} == {("Hello, world!\n", "")}


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ('return f"Hello, {name}!"', 'raise KeyError("in a step")', "RunFailed"),
        ('print(await client.run(hello, "world"))', 'raise KeyError("beside the run")', "KeyError"),
    ],
)
def test_a_script_that_fails_exits_with_1_and_says_why(
    repeat: Repeat, tmp_path: Path, before: str, after: str, error: str
) -> None:
    text = readme_example()
    assert before in text
    # One attempt, so that nothing waits for a retry.
    text = text.replace("@step\n", '@step(retry="none")\n').replace(before, after)
    script = tmp_path / "failing.py"
    script.write_text(text, encoding="utf-8")
    times = 40 if THOROUGH else 4
    done = repeat([sys.executable, str(script)], times)
    assert codes(done) == {1: times}
    assert all(error in one.stderr for one in done)


def test_short_commands_exit_with_0(repeat: Repeat, home: Path) -> None:
    asyncio.run(start_server(home))
    times = 40 if THOROUGH else 6
    done = repeat([str(Path(sys.executable).with_name("holdfast")), "runs", "list"], times)
    assert codes(done) == {0: times}


async def start_server(home: Path) -> None:
    async with await embedded.attach(home):
        pass
