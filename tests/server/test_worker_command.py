"""`holdfast worker` and `holdfast dev` as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
import uuid
from pathlib import Path

from tests.server.conftest import Background, Cli


def test_a_worker_finishes_its_step_before_it_ends(cli: Cli) -> None:
    queue = f"queue-{uuid.uuid4().hex}"
    with cli.background("worker", "flows.py", "--queue", queue, "--health-port", "0", "--json") as worker:
        worker.until(lambda output: "health http" in output)
        serves = json.loads(next(line for line in worker.output.splitlines() if line.startswith("{")))
        assert (serves["queues"], serves["workflows"]) == ([queue], ["failing", "hello", "patient", "sleepy"])
        with urllib.request.urlopen(f"http://127.0.0.1:{serves['health_port']}/ready", timeout=5) as answer:
            assert answer.status == 200
        started = cli("run", "flows.py:sleepy", "-i", "3", "--id", queue, "--queue", queue, "--no-wait")
        assert started.returncode == 0, started.stderr
        _until_step(cli, queue, "running")
        assert worker.stop(signal.SIGTERM) == 0
        assert "Traceback" not in worker.output
    described = cli.json("runs", "show", queue)
    assert [(step["state"], step["attempt"]) for step in described["steps"]] == [("completed", 1)]
    cli("runs", "terminate", queue)


def test_dev_follows_the_code_and_survives_mistakes(cli: Cli) -> None:
    app = cli.folder / "flows.py"
    with cli.background("dev", "flows.py") as dev:
        dev.until(lambda output: "look " in output)
        assert "http://127.0.0.1:" in dev.output
        assert "holdfast run flows.py:hello --input" in dev.output
        assert cli("run", "flows.py:hello", "-i", '"Ada"').stdout == '"Hello, Ada!"\n'

        _edit(app, "Hello", "Howdy")
        dev.until(lambda output: "finishes what it has" in output)
        assert cli("run", "flows.py:hello", "-i", '"Ada"', "--no-worker").stdout == '"Howdy, Ada!"\n'

        _edit(app, "return f", "return return f")
        dev.until(lambda output: "goes on with the old code" in output)
        assert "flows.py:9: SyntaxError" in dev.output
        old = _serving(dev)[-1]
        os.kill(old, 0)

        _edit(app, "return return f", "return f")
        dev.until(lambda output: len(_serving(dev)) == 3)
        assert dev.stop(signal.SIGINT) == 0
        assert "Traceback" not in dev.output
        assert "killed" not in dev.output
    assert not any(_lives(pid) for pid in _serving(dev))


def test_dev_workers_end_when_dev_is_killed(cli: Cli) -> None:
    with cli.background("dev", "flows.py") as dev:
        dev.until(lambda output: "look " in output)
        dev.process.kill()
        dev.process.wait()
        [worker] = _serving(dev)
        end = time.monotonic() + 15
        while _lives(worker):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_dev_without_an_app_shows_the_last_runs(cli: Cli, finished_run: str) -> None:
    with cli.background("dev") as dev:
        dev.until(lambda output: "serve " in output)
        assert "http://127.0.0.1:" in dev.output
        assert "hello" in dev.output
        assert dev.stop() == 0
    assert finished_run


def test_dev_refuses_an_app_that_does_not_exist(cli: Cli) -> None:
    done = cli("dev", "missing.py")
    assert (done.returncode, "no file 'missing.py'" in done.stderr) == (3, True)


def test_the_codec_server_serves_until_it_is_told_to_end(cli: Cli) -> None:
    with cli.background("codec-server", "--port", "0", "--json") as server:
        server.until(lambda output: '"url"' in output)
        url = json.loads(server.output.splitlines()[-1])["url"]
        request = urllib.request.Request(f"{url}/decode", b'{"payloads": []}', method="POST")
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert json.load(answer) == {}
        assert server.stop() == 0


def test_the_codec_server_needs_a_token_beyond_this_machine(cli: Cli) -> None:
    done = cli("codec-server", "--host", "0.0.0.0", "--port", "0")
    assert (done.returncode, "token" in done.stderr) == (2, True), done.stderr


def _until_step(cli: Cli, run: str, state: str) -> None:
    end = time.monotonic() + 20
    while state not in [step["state"] for step in cli.json("runs", "show", run)["steps"]]:
        assert time.monotonic() < end
        time.sleep(0.05)


def _edit(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text("utf-8").replace(old, new, 1), "utf-8")


def _serving(dev: Background) -> list[int]:
    return [int(pid) for pid in re.findall(r"worker (\d+) serves after", dev.output)]


def _lives(pid: int) -> bool:
    try:
        return "holdfast_server.cli" in Path(f"/proc/{pid}/cmdline").read_text("utf-8")
    except OSError:
        return False
