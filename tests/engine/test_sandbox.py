"""Where workflow code may stand: scripts, the prompt, notebooks, functions; with the guard where it can be had."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import Client, InvalidWorkflow, RunFailed, Worker, step, workflow
from holdfast.engine.sandbox import can_sandbox
from holdfast.testing import fresh_registry

SCRIPT = """
import asyncio
from pydantic import BaseModel
from holdfast import Client, Worker, step, workflow

class Order(BaseModel):
    id: int

@step
async def charge(order: Order) -> Order:
    return Order(id=order.id + 1)

@workflow
async def fulfil(order: Order) -> list[bool | int]:
    charged = await charge(order)
    return [isinstance(order, Order), isinstance(charged, Order), charged.id]

async def main() -> None:
    async with Client.connect() as client, Worker(client, [fulfil]):
        print(await client.run(fulfil, Order(id=1)))
"""
GUARDED = SCRIPT + '\nif __name__ == "__main__":\n    asyncio.run(main())\n'
UNGUARDED = SCRIPT + "\nasyncio.run(main())\n"


async def _python(client: Client, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "TEMPORAL_ADDRESS": client.address,
        "TEMPORAL_NAMESPACE": client.namespace,
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


async def test_a_script_with_a_main_guard_runs(holdfast_client: Client, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(GUARDED)
    done = await _python(holdfast_client, str(script))
    assert (done.returncode, done.stdout) == (0, "[True, True, 2]\n"), done.stderr
    assert done.stderr == ""


async def test_a_script_without_a_main_guard_says_so(holdfast_client: Client, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    done = await _python(holdfast_client, str(script))
    assert done.returncode == 1
    assert 'Put it under `if __name__ == "__main__":`' in done.stderr
    assert "script.py:22" in done.stderr


async def test_code_from_standard_input_runs_with_one_warning(holdfast_client: Client) -> None:
    done = await _python(holdfast_client, "-", stdin=UNGUARDED)
    assert (done.returncode, done.stdout) == (0, "[True, True, 2]\n"), done.stderr
    assert done.stderr.count("without the guard") == 1


async def test_the_interactive_prompt_works(holdfast_client: Client) -> None:
    lines = SCRIPT.replace("\n\nasync", "\n\n\nasync").replace("\n\n@", "\n\n\n@")
    done = await _python(holdfast_client, "-i", "-q", stdin=f"{lines}\n\nasyncio.run(main())\n")
    assert "[True, True, 2]" in done.stdout, done.stderr


async def test_cells_of_a_notebook_work_and_may_be_run_again(
    holdfast_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    definitions = SCRIPT[: SCRIPT.index("async def main")]
    with fresh_registry():
        for number in (1, 2):
            cell: dict[str, Any] = {"__name__": "__main__notebook__"}
            code = definitions.replace("order.id + 1", f"order.id + {number}")
            exec(compile(code, f"<ipython-input-{1}>", "exec"), cell)
            async with Worker(holdfast_client, [cell["fulfil"]]):
                result = await holdfast_client.run(cell["fulfil"], cell["Order"](id=1))
                assert result == [True, True, 1 + number]


async def test_functions_inside_a_test_work_with_a_warning(
    holdfast_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    with fresh_registry():

        class Local(BaseModel):
            name: str

        @step
        async def local_note(name: str) -> str:
            seen.append(name)
            return name

        @workflow
        async def local_flow(name: str) -> bool:
            return isinstance(Local(name=await local_note(name)), Local)

        with caplog.at_level(logging.WARNING, logger="holdfast.worker"):
            async with Worker(holdfast_client, [local_flow]):
                assert await holdfast_client.run(local_flow, "here")
    assert seen == ["here"]


async def test_two_local_functions_of_one_name_keep_apart(holdfast_client: Client) -> None:
    def make(number: int) -> Any:
        @workflow(name=f"local_{number}")
        async def local_flow() -> int:
            return number

        return local_flow

    with fresh_registry():
        one, two = make(1), make(2)
        async with Worker(holdfast_client, [one, two]):
            assert await holdfast_client.run(one) == 1
            assert await holdfast_client.run(two) == 2


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("asyncio.run(main())", 22),
        ("result = asyncio.run(main())", 22),
        ("try:\n    asyncio.run(main())\nexcept KeyError:\n    pass", 23),
        ("asyncio.get_event_loop().run_until_complete(main())", 22),
    ],
)
def test_work_at_import_is_found(tmp_path: Path, body: str, line: int) -> None:
    from holdfast.engine.sandbox import _check_main_guard

    script = tmp_path / "script.py"
    script.write_text(f"{SCRIPT}\n{body}\n")
    with pytest.raises(InvalidWorkflow, match=rf"script\.py:{line} starts work"):
        _check_main_guard(script)
    script.write_text(f'{SCRIPT}\nif __name__ == "__main__":\n    asyncio.run(main())\n')
    _check_main_guard(script)


@workflow(sandboxed=False)
async def sandbox_off() -> float:
    import time

    return time.time()


async def test_the_guard_may_be_turned_off(holdfast_client: Client) -> None:
    assert not can_sandbox(sandbox_off)
    async with Worker(holdfast_client, [sandbox_off]):
        assert await holdfast_client.run(sandbox_off) > 0


@workflow
async def sandbox_state(number: int) -> list[int]:
    COUNTED.append(number)
    return list(COUNTED)


COUNTED: list[int] = []


async def test_module_state_is_not_shared_between_runs(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [sandbox_state]):
        assert await holdfast_client.run(sandbox_state, 1) == [1]
        assert await holdfast_client.run(sandbox_state, 2) == [2]
    assert COUNTED == []


@step
async def sandbox_shout(message: str) -> None:
    raise ValueError(message)


@workflow
async def sandbox_huge(where: str, size: int) -> None:
    if where == "step":
        await sandbox_shout.with_options(retry="quick")("x" * size)
    raise ValueError("y" * size)


@pytest.mark.parametrize("where", ["step", "workflow"])
async def test_an_error_with_a_huge_message_still_ends_the_run(holdfast_client: Client, where: str) -> None:
    async with Worker(holdfast_client, [sandbox_huge]):
        with pytest.raises(RunFailed, match="ValueError"):
            await holdfast_client.run(sandbox_huge, where, 5_000_000)
