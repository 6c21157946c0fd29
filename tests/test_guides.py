"""The examples of guide pages, each run as a project of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
SETTINGS = (
    "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
)


@pytest.mark.parametrize(
    ("page", "module", "passed"),
    [
        # Of executors: five checks of a good case and of the class, two of each bad one, and the DAG.
        ("executors", "postcard", 17),
        ("llm", "triage", None),
        ("replay", "parcels", None),
        ("testing", "shop", None),
        ("triggers", "nightly", None),
    ],
)
def test_the_examples_of_a_page_pass_with_warnings_as_errors(
    page: str, module: str, passed: int | None, tmp_path: Path
) -> None:
    text = (GUIDE / f"{page}.md").read_text("utf-8")
    code, *tests = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / f"{module}.py").write_text(code, "utf-8")
    (tmp_path / f"test_{module}.py").write_text("\n\n".join(tests), "utf-8")
    (tmp_path / "pytest.ini").write_text(SETTINGS, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{passed or sum(test.count('def test_') for test in tests)} passed" in done.stdout


def test_the_gate_in_ci_collects_the_tests_of_crashes_cancels_and_chaos(tmp_path: Path) -> None:
    text = (GUIDE / "testing.md").read_text("utf-8")
    code, *tests = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (described,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    workflow = yaml.safe_load(described)
    assert workflow[True] == ["pull_request"]  # YAML 1.1 takes `on` for true
    (command,) = [
        run for one in workflow["jobs"]["gate"]["steps"] if "pytest -q" in (run := one.get("run", ""))
    ]
    python, *arguments = command.split()
    assert python == "python"

    gate = tmp_path / "tests" / "gate"
    gate.mkdir(parents=True)
    (tmp_path / "shop.py").write_text(code, "utf-8")
    chosen = [test for test in tests if re.search("_everywhere\\(|@chaos|^from", test)]
    (gate / "test_gate.py").write_text("\n\n".join(chosen), "utf-8")
    (tmp_path / "pytest.ini").write_text(SETTINGS + "pythonpath = .\n", "utf-8")
    done = subprocess.run(
        [sys.executable, *arguments, "--collect-only", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("crashes_everywhere", "cancelled_everywhere", "survive_chaos"):
        assert name in done.stdout
