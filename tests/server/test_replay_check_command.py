"""`holdfast replay-check`: runs of a server and of files against changed code."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from holdfast import Client
from holdfast.testing import save_history

from .conftest import Cli

BEFORE = """
from holdfast import step, workflow

@step
async def charge(cents: int) -> str:
    return f"receipt for {cents}"

@step
async def ship(order: str) -> str:
    return f"parcel {order}"

@workflow
async def checked_order(order: str) -> str:
    await charge(500)
    return await ship(order)
"""
AFTER = BEFORE.replace("    await charge(500)\n", "    await ship(order)\n    await charge(500)\n")
PATCHED = BEFORE.replace("import step", "import patched, step").replace(
    "    await charge(500)\n",
    '    if patched("ship-first"):\n        await ship(order)\n    await charge(500)\n',
)


async def saved(home: Path, run: str, path: Path) -> None:
    async with Client.embedded(home, start=False) as client:
        await save_history(client.get(run), path)


@pytest.fixture(scope="module")
def recorded(cli_home: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a run of the code before the change."""
    folder = tmp_path_factory.mktemp("before")
    (folder / "shop.py").write_text(BEFORE, "utf-8")
    done = Cli(home=cli_home, folder=folder)(
        "run", "shop.py:checked_order", "-i", '"7"', "--id", "checked-order-1"
    )
    assert done.returncode == 0, done.stderr
    return "checked-order-1"


def test_changed_code_breaks_a_run_until_it_is_patched(cli: Cli, recorded: str) -> None:
    checked = ("replay-check", "shop.py", "--workflow", "checked_order", "--last", "1")
    (cli.folder / "shop.py").write_text(AFTER, "utf-8")
    broken = cli.process(*checked)
    assert broken.returncode == 1
    assert broken.stdout.splitlines() == [
        f"{recorded} (checked_order) would break at step charge",
        "  the history has (event 5): step 'charge', which today's code calls at shop.py:15: await charge(500)",
        "  today's code has: step 'ship' at shop.py:14: await ship(order)",
        '  add: if patched("checked-order-ship"):  # what is new; else: what was here before, if anything was',
    ]
    assert "1 of 1 runs would break" in broken.stderr

    (cli.folder / "shop.py").write_text(PATCHED, "utf-8")
    patched = cli.process(*checked, "--only", "closed")
    assert (patched.returncode, patched.stdout) == (0, "")
    assert "0 of 1 runs would break" in patched.stderr
    assert json.loads(cli.process(*checked, "--only", "open", "--json").stdout)["checked"] == 0


def test_a_folder_of_histories_needs_no_server(cli: Cli, recorded: str, tmp_path: Path) -> None:
    asyncio.run(saved(cli.home, recorded, tmp_path / "histories" / "one.json"))
    elsewhere = Cli(home=tmp_path / "none", folder=cli.folder)
    (cli.folder / "shop.py").write_text(AFTER, "utf-8")
    found = elsewhere.process("replay-check", "shop.py", "--from", "histories", "--json")
    assert found.returncode == 1
    (breaks,) = json.loads(found.stdout)["breaks"]
    assert (breaks["run_id"], breaks["step"], breaks["parting"]["now"]["line"]) == (recorded, "charge", 14)

    other = elsewhere.process("replay-check", "flows.py", "--from", "histories", "--json")
    assert (other.returncode, json.loads(other.stdout)) == (
        1,  # nothing was checked
        {"checked": 0, "breaks": [], "skipped": {"checked_order": 1}, "gone": 0},
    )
    allowed = elsewhere.process("replay-check", "flows.py", "--from", "histories", "--allow-empty")
    assert allowed.returncode == 0, allowed.stderr
    renamed = elsewhere.process(
        "replay-check", "flows.py", "--from", "histories", "--workflow", "checked_order"
    )
    assert renamed.returncode == 3
    assert "no workflow 'checked_order'" in renamed.stderr
    assert "hello" in renamed.stderr

    # The line that calls it is gone from this workflow; that of another one is not where to look.
    other_calls = "@workflow\nasync def another(order: str) -> str:\n    return await charge(3)\n"
    gone = BEFORE.replace("    await charge(500)\n", "") + other_calls
    (cli.folder / "shop.py").write_text(gone, "utf-8")
    (breaks,) = json.loads(
        elsewhere.process("replay-check", "shop.py", "--from", "histories", "--json").stdout
    )["breaks"]
    assert breaks["step"] == "charge"
    assert breaks["parting"]["recorded"]["line"] is None
