"""The example of the guide on executors, run as a project of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "executors.md"


def test_the_example_of_the_guide_passes_with_warnings_as_errors(tmp_path: Path) -> None:
    module, *tests = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "postcard.py").write_text(module, "utf-8")
    (tmp_path / "test_postcard.py").write_text("\n\n".join(tests), "utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Five checks of a good case and of the class, two of each bad one, and the DAG.
    assert "17 passed" in done.stdout
