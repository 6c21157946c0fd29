"""`holdfast workflows`, and pictures of runs on the command line."""

from __future__ import annotations

import json
import time
import uuid
from xml.etree import ElementTree

import pytest

from .conftest import Cli

GOOD = """
name: etl
nodes:
  - {id: fetch, type: step, config: {step: etl.fetch, arguments: {input: "{{ input }}"}}}
  - {id: enrich, type: step, config: {step: etl.enrich, arguments: {item: "{{ item }}"}}, map: {over: fetch},
     depends_on: [fetch]}
"""
BAD = """
name: bad
nodes:
  - id: a
    type: step
    config: {step: x}
    depends_on: [zz, b]
  - id: b
    type: step
    config: {step: y, arguments: {v: "{{ nope + }}"}}
    depends_on: [a]
"""
APP = """
from holdfast import Dag
etl = Dag("etl")

@etl.step
async def fetch(input: int) -> list[int]:
    return list(range(input))

@etl.map(over="fetch")
async def enrich(item: int) -> int:
    return item * 2

other = Dag("other")
other.add_step("x", id="x", arguments={}, when="nope > 1")
"""


@pytest.fixture
def dags(cli: Cli) -> Cli:
    for name, text in {"etl.yaml": GOOD, "bad.yaml": BAD, "dag_app.py": APP, "worst.yaml": "name: ["}.items():
        (cli.folder / name).write_text(text, "utf-8")
    (cli.folder / "bad.json").write_text('{"name": "x",\n "nodes": [{"id": "a"}]}', "utf-8")
    return cli


def test_a_document_that_can_be_run_is_valid(dags: Cli) -> None:
    done = dags("workflows", "validate", "etl.yaml")
    assert (done.returncode, done.stdout) == (0, "")
    assert "etl.yaml: valid" in done.stderr


def test_all_findings_come_at_once_with_their_places(dags: Cli) -> None:
    done = dags("workflows", "validate", "etl.yaml", "bad.yaml", "bad.json", "worst.yaml", "--json")
    assert done.returncode == 1
    good, bad, form, text = json.loads(done.stdout)
    assert (good["valid"], good["findings"]) == (True, [])
    assert [(one["code"], one["node"], one["line"]) for one in bad["findings"]] == [
        ("HF-D010", "a", 7),
        ("HF-D012", "a", 4),
        ("HF-D040", "b", 10),
    ]
    assert [(one["code"], one["line"], one["column"]) for one in form["findings"]] == [("HF-D001", 2, 12)]
    assert [one["line"] for one in text["findings"]] == [2]
    assert all(one["fix"] for dag in (bad, form, text) for one in dag["findings"])
    shown = dags("workflows", "validate", "bad.yaml")
    for part in ("bad.yaml:7:18", "error HF-D010", "Name an existing node"):
        assert part in shown.stdout
    assert "bad.yaml: 3 errors" in shown.stderr


def test_dags_of_an_app_are_checked_by_name(dags: Cli) -> None:
    every = dags.process("workflows", "validate", "dag_app.py", "--json")
    assert every.returncode == 1
    assert {dag["source"]: dag["valid"] for dag in json.loads(every.stdout)} == {
        "dag_app.py:etl": True,
        "dag_app.py:other": False,
    }
    assert dags.process("workflows", "validate", "dag_app.py:etl").returncode == 0
    unknown = dags.process("workflows", "validate", "dag_app.py:nobody")
    assert (unknown.returncode, "there are: etl, other" in unknown.stderr) == (3, True)
    assert dags("workflows", "validate", "nothing.yaml").returncode == 3


def test_a_document_is_drawn_in_every_form(dags: Cli) -> None:
    text = dags("workflows", "diagram", "etl.yaml")
    assert (text.returncode, "│ enrich │" in text.stdout) == (0, True)
    assert dags("workflows", "diagram", "etl.yaml", "--format", "mermaid").stdout.startswith("flowchart TD")
    assert dags.json("workflows", "diagram", "etl.yaml", "--format", "dot")["diagram"].startswith("digraph")
    written = dags("workflows", "diagram", "etl.yaml", "--format", "svg", "--output", "etl.svg")
    assert (written.returncode, written.stdout) == (0, "")
    assert ElementTree.fromstring((dags.folder / "etl.svg").read_text("utf-8")).tag.endswith("svg")
    assert dags("workflows", "diagram", "etl.yaml", "-o", "no/such/file").returncode == 2
    assert dags("workflows", "diagram", "worst.yaml").returncode == 2


def test_a_dag_is_run_and_drawn_with_its_states(dags: Cli) -> None:
    run = f"etl-{uuid.uuid4().hex}"
    done = dags.process("run", "dag_app.py:etl", "--input", "5", "--id", run)
    assert (done.returncode, json.loads(done.stdout)) == (0, [0, 2, 4, 6, 8]), done.stderr
    drawn = dags("runs", "diagram", run)
    assert "✓ enrich \N{MULTIPLICATION SIGN}5" in drawn.stdout
    assert dags("runs", "diagram", f"{run}-nobody").returncode == 3


def test_a_document_is_run_by_the_workers_that_serve_its_steps(dags: Cli) -> None:
    refused = dags.process("run", "etl.yaml", "--input", "2", "--worker")
    assert (refused.returncode, "holdfast worker APP" in refused.stderr) == (2, True)
    with dags.background("worker", "dag_app.py", "--queue", "default"):
        done = dags.process("run", "etl.yaml", "--input", "2")
    assert (done.returncode, json.loads(done.stdout)) == (0, [0, 2]), done.stderr


def test_a_run_of_code_is_drawn_from_its_history(cli: Cli, finished_run: str) -> None:
    drawn = cli("runs", "diagram", finished_run, "--format", "mermaid")
    assert (drawn.returncode, "✓ greet" in drawn.stdout) == (0, True)


def test_a_folder_stands_for_its_documents(dags: Cli) -> None:
    (dags.folder / "below").mkdir()
    (dags.folder / "below" / "part.yml").write_text(GOOD, "utf-8")
    (dags.folder / "settings.yaml").write_text("color: red\n", "utf-8")
    done = dags("workflows", "validate", ".", "--json")
    found = {one["source"]: one["valid"] for one in json.loads(done.stdout)}
    assert found == {
        "bad.json": False, "bad.yaml": False, "below/part.yml": True, "etl.yaml": True, "worst.yaml": False,
    }  # fmt: skip
    (dags.folder / "empty").mkdir()
    empty = dags("workflows", "validate", "empty")
    assert (empty.returncode, "no DAG document in this folder" in empty.stderr) == (3, True)


def test_with_the_app_of_the_workers_unknown_names_are_errors(dags: Cli) -> None:
    misspelt = GOOD.replace("step: etl.enrich", "step: etl.enrch")
    (dags.folder / "misspelt.yaml").write_text(misspelt, "utf-8")
    assert dags.process("workflows", "validate", "misspelt.yaml").returncode == 0
    done = dags.process("workflows", "validate", "misspelt.yaml", "--module", "dag_app.py", "--json")
    [finding] = json.loads(done.stdout)[0]["findings"]
    assert (done.returncode, finding["code"], finding["node"]) == (1, "HF-D030", "enrich")
    assert "Did you mean 'etl.enrich'?" in finding["fix"]
    assert dags.process("workflows", "validate", "etl.yaml", "--module", "dag_app.py").returncode == 0


def test_a_target_that_leaves_open_what_to_run_names_the_choices(dags: Cli) -> None:
    several = dags.process("run", "dag_app.py", "--input", "2")
    assert (several.returncode, "dag_app.py:etl, dag_app.py:other" in several.stderr) == (3, True)
    unknown = dags.process("run", "dag_app.py:nobody")
    assert (unknown.returncode, "workflows there: etl, other" in unknown.stderr) == (3, True)
    named = dags("run", "etl.yaml:etl")
    assert (named.returncode, "leave out ':etl'" in named.stderr) == (2, True)
    wrong = dags("run", "bad.yaml")
    assert (wrong.returncode, wrong.stderr.count("HF-D012"), wrong.stderr.count("[HF-1001]")) == (2, 1, 1)
    unreadable = dags("workflows", "diagram", "worst.yaml")
    assert (unreadable.stderr.count("HF-D001"), unreadable.stderr.count("[HF-1001]")) == (1, 1)


def test_the_only_dag_of_an_app_is_run_without_its_name(dags: Cli) -> None:
    app = "from holdfast import Dag\nonly = Dag('only', output='input * 2')\nonly.add_timer('a', '100ms')\n"
    (dags.folder / "only_app.py").write_text(app, "utf-8")
    done = dags.process("run", "only_app.py", "--input", "4")
    assert (done.returncode, json.loads(done.stdout)) == (0, 8), done.stderr


def test_documents_are_stored_in_versions_and_run(dags: Cli) -> None:
    name = f"sums-{uuid.uuid4().hex[:6]}"
    document = {
        "name": name,
        "nodes": [
            {"id": "made", "type": "transform", "config": {"expression": "input + 1", "data": "{{ input }}"}}
        ],
    }
    file = dags.folder / "stored.json"
    file.write_text(json.dumps(document), "utf-8")
    first = dags.json("workflows", "push", "stored.json", "--note", "=1+1", "--by", "ann")
    assert (first["version"], first["is_new"], first["created_by"]) == (1, True, "ann")
    assert "unchanged" in dags("workflows", "push", "stored.json").stdout
    assert dags("workflows", "diff", name).returncode == 3
    document["description"] = "two"
    file.write_text(json.dumps(document), "utf-8")
    assert dags("workflows", "push", "stored.json", "--if-version", "7").returncode == 2
    assert dags.json("workflows", "push", "stored.json", "--if-version", "1")["version"] == 2
    assert [one["version"] for one in dags.json("workflows", "versions", name)] == [2, 1]
    differs = dags("workflows", "diff", name)
    assert differs.returncode == 1
    assert "+description: two" in differs.stdout
    assert dags("workflows", "diff", name, "--from", "2").returncode == 0
    assert "description" not in dags("workflows", "show", name, "--version", "1").stdout
    assert dags.json("workflows", "show", name)["document"]["description"] == "two"
    assert name in [one["name"] for one in dags.json("workflows", "list")]

    code = '\nfrom holdfast import workflow\n@workflow\nasync def in_code() -> None:\n    "Counts."\n'
    (dags.folder / "both_app.py").write_text(APP + code, "utf-8")
    with dags.background("worker", "both_app.py") as worker:
        worker.until(lambda log: "serving" in log)
        assert dags.json("workflows", "run", name, "--input", "41")["result"] == 42
        me = [
            one
            for one in dags.json("workers", "list")
            if one["queue"] == "default" and one["pid"] == worker.process.pid
        ]
        assert len(me) == 1
        assert "default" in dags("workers", "list").stdout
        check_published(dags, name, str(me[0]["identity"]))

    assert dags("workflows", "delete", name).returncode == 0
    assert dags("workflows", "show", name).returncode == 3
    assert dags("workflows", "run", name).returncode == 3
    assert name in [one["name"] for one in dags.json("workflows", "list", "--deleted")]
    assert dags.json("workflows", "restore", name)["version"] == 2
    assert dags("workflows", "delete", name).returncode == 0


def check_published(dags: Cli, name: str, identity: str) -> None:
    """What the worker serves is told, and documents are checked against it by processes that have not imported it."""

    def mine() -> dict[str, list[str]] | None:
        found = [one["serves"] for one in dags.json("workers", "list") if one["identity"] == identity]
        return found[0] if found else None

    deadline = time.monotonic() + 60
    while (served := mine()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "etl.fetch" in served["steps"]
    assert served["workflows"] == ["in_code"]
    shown = dags.json("workers", "show", "--queue", "default")
    assert identity in [worker for build in shown["builds"] for worker in build["workers"]]
    assert "Counts." in dags("workers", "show").stdout
    [listed] = [one for one in dags.json("workflows", "list") if one["name"] == "in_code"]
    assert (listed["kind"], listed["live"]) == ("code", True)
    assert name in dags("workflows", "list").stdout

    node = {"id": "a", "type": "step", "config": {"step": "etl.fetch", "arguments": {"inputs": 1}}}
    file = dags.folder / "served.json"
    file.write_text(json.dumps({"name": f"{name}-served", "nodes": [node]}), "utf-8")
    refused = dags.process("workflows", "push", "served.json")
    assert refused.returncode == 2
    assert "'inputs'" in refused.stderr
    node["config"] = {"step": "etl.fetched", "arguments": {}}
    file.write_text(json.dumps({"name": f"{name}-served", "nodes": [node]}), "utf-8")
    stored = dags.process("workflows", "push", "served.json", "--json")
    assert stored.returncode == 0, stored.stderr
    [warning] = json.loads(stored.stdout)["findings"]
    assert (warning["code"], warning["severity"]) == ("HF-D034", "warning")
    assert "'etl.fetch'" in warning["fix"]
    assert dags("workflows", "validate", "served.json", "--served", "--json").returncode == 0


def test_what_cannot_run_is_not_stored(dags: Cli) -> None:
    done = dags("workflows", "push", "bad.yaml")
    assert done.returncode == 2
    assert "HF-D010" in done.stderr
    assert dags("workflows", "show", "x' OR '1'='1").returncode == 3
