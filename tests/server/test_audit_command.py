"""`holdfast audit`: what it looks at, what it prints, and how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.conftest import Cli

from holdfast.authoring.registry import fresh_registry

BAD = """
import time
from holdfast import step, workflow

def stamp() -> float:
    return time.time()

@workflow
async def careless() -> float:
    return stamp()

@workflow
async def noisy() -> None:
    print("x")
"""

DAGS = """
from holdfast import Dag, step

etl = Dag("etl-dag")

@etl.step(when="1 == 2")
async def fetch(input: str) -> str:
    return input

@step(idempotent=True)
async def send(text: str) -> None: ...

other = Dag("other")
other.add_step(send, arguments={"text": "x"})
"""

DOCUMENT = "name: asks\nnodes:\n  - id: ask\n    type: approval\n    config: {prompt: '?'}\n"


@pytest.fixture(autouse=True)
def _imports_are_forgotten() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    path, modules = sys.path[:], set(sys.modules)
    with fresh_registry():
        yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("audited_"):
            del sys.modules[name]


def write(cli: Cli, name: str, text: str) -> str:
    path = cli.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return name


def test_an_error_ends_with_1_and_says_where_how_it_is_reached_and_what_to_do(cli: Cli) -> None:
    done = cli("audit", write(cli, "audited_bad.py", BAD))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "audited_bad.py:6: error HF-A020 time.time reads a clock: a replay would see another time",
        "    reached by careless -> stamp",
        "    Use holdfast.now().",
    ]
    assert "1 error and 0 warnings in 1 file, level normal" in done.stderr


def test_good_workflows_end_with_0(cli: Cli) -> None:
    done = cli("audit", "flows.py", "--pedantic")
    assert (done.returncode, done.stdout) == (0, "")


def test_warnings_alone_end_with_0_and_can_be_left_out(cli: Cli) -> None:
    name = write(cli, "asks.yaml", DOCUMENT)
    done = cli("audit", name)
    assert done.returncode == 0
    assert done.stdout.startswith("asks.yaml:3: warning HF-A008 (node ask) 'ask' may wait")
    assert cli("audit", name, "--only-errors").stdout == ""
    assert cli("audit", name, "--strict").returncode == 1


@pytest.mark.parametrize("option", [("--json",), ("--format", "json")])
def test_programs_get_json_alone(cli: Cli, option: tuple[str, ...]) -> None:
    write(cli, "some/audited_bad.py", BAD)
    write(
        cli, "some/asks.json", json.dumps({"name": "x", "nodes": [{"id": "a", "type": "wait", "config": {}}]})
    )
    done = cli("audit", "some", "--strict", *option)
    report = json.loads(done.stdout)
    assert {key: value for key, value in report.items() if key != "findings"} == {
        "level": "strict",
        "files": ["some/asks.json", "some/audited_bad.py"],
        "errors": 3,
        "warnings": 1,
        "problems": [],
    }
    assert [(found["file"], found["code"], found.get("node")) for found in report["findings"]] == [
        ("some/asks.json", "HF-D031", "a"),
        ("some/asks.json", "HF-A008", "a"),
        ("some/audited_bad.py", "HF-A020", None),
        ("some/audited_bad.py", "HF-A029", None),
    ]
    errors = json.loads(cli("audit", "some", "--strict", "--only-errors", *option).stdout)
    assert {found["severity"] for found in errors["findings"]} == {"error"}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("missing.py", None, "no file 'missing.py'"),
        ("missing_module", None, "no file, folder or module"),
        ("audited_wrong.py", "def f(:\n", "audited_wrong.py:1: not Python"),
        ("audited_bytes.py", b"# coding: nonsense\n", "cannot be read"),
        ("wrong.yaml", b"name: \xff", "cannot be read"),
        ("audited_raises.py", "from holdfast import Dag\nx = Dag('x')\n1 / 0\n", "does not import"),
        ("audited_good.py:nobody", "from holdfast import workflow\n", "no workflow or DAG 'nobody'"),
    ],
)
def test_what_cannot_be_audited_ends_with_2(cli: Cli, name: str, text: str | bytes | None, says: str) -> None:
    if text is not None:
        (cli.folder / name.partition(":")[0]).write_bytes(text if isinstance(text, bytes) else text.encode())
    done = cli("audit", name)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert says in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("wrong.yaml", "a: [", "wrong.yaml:2: error HF-D001 not YAML"),
        ("wrong.json", '{"name": "x"}', "wrong.json:1: error HF-D001 the field 'nodes' is missing"),
    ],
)
def test_a_document_that_is_asked_for_and_is_no_dag_is_a_finding(
    cli: Cli, name: str, text: str, says: str
) -> None:
    done = cli("audit", write(cli, name, text))
    assert done.returncode == 1
    assert done.stdout.startswith(says)


def test_levels_exclude_each_other(cli: Cli) -> None:
    done = cli("audit", "flows.py", "--strict", "--pedantic")
    assert done.returncode == 2
    assert "give one of them" in done.stderr


def test_dags_of_a_python_file_are_audited_as_graphs(cli: Cli) -> None:
    name = write(cli, "audited_dags.py", DAGS)
    done = cli("audit", name, "--strict")
    assert done.returncode == 1
    assert "audited_dags.py: error HF-A003 (dag etl-dag, node fetch)" in done.stdout
    assert "HF-A011 (dag etl-dag, node fetch)" in done.stdout
    assert "dag other" not in done.stdout, "its only step is stated to be idempotent"


def test_a_name_after_the_colon_chooses_one(cli: Cli) -> None:
    bad, dags = write(cli, "audited_bad.py", BAD), write(cli, "audited_two.py", DAGS)
    assert cli("audit", f"{bad}:careless").returncode == 1
    assert cli("audit", f"{bad}:noisy").returncode == 0
    assert "HF-A003" in cli("audit", f"{dags}:etl").stdout
    assert cli("audit", f"{dags}:other").stdout == ""


def test_what_a_dag_cannot_be_compiled_for_is_a_finding(cli: Cli) -> None:
    name = write(
        cli,
        "audited_cycle.py",
        "from holdfast import Dag\nx = Dag('x')\nx.add_wait('a', 'go', depends_on=['b'])\n",
    )
    done = cli("audit", name)
    assert done.returncode == 1
    assert "error HF-D010 (dag x, node a)" in done.stdout


def test_a_folder_is_searched_for_code_and_dags_and_nothing_else(cli: Cli) -> None:
    folder = cli.folder / "project"
    for name in (
        "shop/audited_bad.py",
        ".venv/audited_bad.py",
        "node_modules/audited_bad.py",
        "env/audited_bad.py",
    ):
        write(cli, f"project/{name}", BAD)
    (folder / "env" / "pyvenv.cfg").touch()
    write(cli, "project/asks.yml", DOCUMENT)
    write(cli, "project/package.json", '{"name": "shop", "nodes": 3}')
    write(cli, "project/graph.json", '{"nodes": [], "links": []}')
    write(cli, "project/deploy.yaml", "kind: a\n---\nkind: b\n")
    done = cli("audit", "project", "--json")
    assert json.loads(done.stdout)["files"] == ["project/asks.yml", "project/shop/audited_bad.py"]
    assert done.returncode == 1


def test_documents_in_a_folder_that_cannot_be_read_are_findings(cli: Cli) -> None:
    nodes = "nodes:\n  - {id: a, type: timer, config: {duration: 1s}}\n"
    broken = {
        "alias.yaml": f"name: &name x\n{nodes}",
        "cut.json": '{"name": "x",\n "nodes": [{"id":',
        "field.yaml": f"name: x\n{nodes}outpt: a\n",
        "mapping.yaml": "name: x\nnodes: {a: {type: timer}}\n",
        "tab.yaml": "name: x\nnodes:\n\t- {id: a}\n",
        "twice.yaml": f"name: x\nname: y\n{nodes}",
    }
    unclear = {"cut.yaml": "name: [x\n", "comments.json": "{\n  // ours\n}"}
    others = {
        "anchors.yaml": "a: &a 1\nb: *a\n",
        "empty.yml": "",
        "list.json": "[1, 2]",
        "nan.json": '{"x": NaN}',
        "tag.yaml": "a: !Ref b\n",
    }
    for name, text in (broken | unclear | others).items():
        write(cli, f"project/{name}", text)
    done = cli("audit", "project", "--json")
    report = json.loads(done.stdout)
    found = {
        (finding["file"].removeprefix("project/"), finding["line"], finding["severity"])
        for finding in report["findings"]
    }
    assert {finding["code"] for finding in report["findings"]} == {"HF-D001"}
    assert found == {
        ("alias.yaml", 1, "error"),
        ("cut.json", 2, "error"),
        ("field.yaml", 4, "error"),
        ("mapping.yaml", 2, "error"),
        ("tab.yaml", 3, "error"),
        ("twice.yaml", 2, "error"),
        ("cut.yaml", 2, "warning"),
        ("comments.json", 2, "warning"),
    }
    assert (report["problems"], done.returncode) == ([], 1)


def test_one_file_that_cannot_be_read_does_not_hide_the_others(cli: Cli) -> None:
    write(cli, "some/audited_bad.py", BAD)
    write(cli, "some/audited_wrong.py", "def f(:\n")
    done = cli("audit", "some")
    assert done.returncode == 2
    assert "HF-A020" in done.stdout


@pytest.mark.parametrize("app", ["audited_pkg.flows", "audited_pkg.*", "audited_pkg/flows.py"])
def test_modules_and_packages_are_found_like_apps(cli: Cli, app: str) -> None:
    write(cli, "audited_pkg/__init__.py", "")
    write(cli, "audited_pkg/flows.py", BAD)
    done = cli("audit", app)
    assert done.returncode == 1
    assert str(Path("audited_pkg/flows.py")) in done.stdout


def test_what_the_users_code_prints_is_no_result(cli: Cli) -> None:
    name = write(
        cli,
        "audited_loud.py",
        "from holdfast import Dag\nprint('loud')\nx = Dag('x')\nx.add_timer('t', '1s')\n",
    )
    done = cli("audit", name, "--json")
    assert json.loads(done.stdout)["findings"] == []
