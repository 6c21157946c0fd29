"""The audit of Python files: chains, exceptions, levels, and files of any kind."""

from __future__ import annotations

import ast
import sysconfig
import tokenize
from pathlib import Path

import pytest

from holdfast.errors import InvalidInput, NotFound
from holdfast.spec.audit import LEVELS, CodeFinding, audit_source, declares_dag

HELPERS = """
import time
from holdfast import workflow

def stamp():
    return time.time()

def label(text):
    return f"{text} {stamp()}"

@workflow
async def first(text: str) -> str:
    return label(text)

@workflow
async def second(text: str) -> str:
    return str(stamp()) + str(time.time())
"""


def audited(body: str, **options: object) -> list[CodeFinding]:
    text = f"import asyncio, time\nfrom holdfast import *\n@workflow\nasync def flow():\n{body}"
    return audit_source(text, "flow.py", **options)  # type: ignore[arg-type]


def test_a_finding_names_the_place_the_way_there_and_what_to_use_instead() -> None:
    found, other = audit_source(HELPERS, "shop/flows.py")
    assert found.as_dict() == {
        "code": "HF-A020",
        "message": "time.time reads a clock: a replay would see another time",
        "fix": "Use holdfast.now().",
        "severity": "error",
        "line": 6,
        "column": 12,
        "file": "shop/flows.py",
        "chain": ["first", "label", "stamp"],
    }
    assert str(found).startswith("shop/flows.py:6: time.time reads a clock")
    assert "first -> label -> stamp" in str(found)
    assert (other.line, other.chain) == (17, ("second",))


def test_only_one_workflow_may_be_looked_at() -> None:
    found = audit_source(HELPERS, "flows.py", workflow="second")
    assert [(finding.line, finding.chain) for finding in found] == [
        (6, ("second", "stamp")),
        (17, ("second",)),
    ]
    with pytest.raises(NotFound, match="'third'"):
        audit_source(HELPERS, "flows.py", workflow="third")


def test_temporals_own_workflows_are_told_what_temporal_has() -> None:
    text = (
        "import uuid\nfrom temporalio import workflow\n@workflow.defn\nclass A:\n    @workflow.run\n"
        "    async def run(self) -> None:\n        uuid.uuid4(); open('x')\n"
    )
    assert {finding.fix for finding in audit_source(text, "a.py")} == {
        "Use workflow.uuid4().",
        "Do it in an activity and await its result.",
    }


def test_functions_that_no_workflow_reaches_are_left_alone() -> None:
    assert audit_source("import time\ndef main():\n    time.sleep(1)\n", "a.py", level="pedantic") == []


def test_a_helper_that_calls_itself_ends() -> None:
    text = "def loop(n):\n    return loop(n - 1)\n"
    assert audited(f"    return loop(3)\n{text}") == []


@pytest.mark.parametrize(
    ("comment", "codes"),
    [
        ("# holdfast: allow HF-A020 only measured", []),
        ("#holdfast:allow HF-A020: only measured", []),
        ("# noqa  # holdfast: allow HF-A020 only measured", []),
        ("# holdfast: allow HF-A020", ["HF-A090"]),
        ("# holdfast: allow HF-A021 only measured", ["HF-A020", "HF-A091"]),
        ("# holdfast: allow HF-A020, HF-A021 only measured", ["HF-A091"]),
        ("# holdfast: allow HF-A999 only measured", ["HF-A020", "HF-A091"]),
        ("# holdfast: allow everything", ["HF-A020", "HF-A090"]),
        ("# holdfast: allowed HF-A020 x", ["HF-A020"]),
    ],
)
def test_a_comment_allows_what_it_names_on_its_line_with_a_reason(comment: str, codes: list[str]) -> None:
    assert [finding.code for finding in audited(f"    time.time()  {comment}\n")] == codes


def test_a_comment_may_stand_at_the_end_of_what_it_is_about() -> None:
    body = "    time.strftime(\n        '%Y',\n    )  # holdfast: allow HF-A020 shown only\n"
    assert audited(body) == []
    other_line = "    time.time()\n    pass  # holdfast: allow HF-A020 on the wrong line\n"
    assert [finding.code for finding in audited(other_line)] == ["HF-A020", "HF-A091"]


def test_text_that_looks_like_such_a_comment_is_none() -> None:
    body = '    note = "# holdfast: allow HF-A020 in a string"; time.time()\n'
    assert [finding.code for finding in audited(body)] == ["HF-A020"]


def test_an_exception_from_a_rule_that_is_off_here_is_not_called_unused() -> None:
    body = "    print('x')  # holdfast: allow HF-A029 for the demo\n"
    assert [audited(body, level=level) for level in LEVELS] == [[], [], [], []]


def test_output_is_off_then_a_warning_then_an_error() -> None:
    found = [[finding.severity for finding in audited("    print('x')\n", level=level)] for level in LEVELS]
    assert found == [[], ["warning"], ["warning"], ["error"]]


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("    time.localtime(5); time.strftime('%Y', time.gmtime(5))\n", []),
        ("    time.localtime(); time.gmtime()\n", ["HF-A020", "HF-A020"]),
        ("    import random, uuid\n    a = random.random(); b = uuid.uuid4()\n", ["HF-A021"] * 2),
        ("    import requests\n    open('x').read(); requests.get('y')\n", ["HF-A022"] * 2),
        ("    x = {1, 2}\n    x = sorted(x)\n    for y in x: pass\n", []),
        ("    x: 'set[int]' = load()\n    for y in x: pass\n", ["HF-A026"]),
        ("    def load() -> set[str]: ...\n    for y in load(): pass\n", ["HF-A026"]),
        ("    async for x in {1}: pass\n", []),
        ("    try:\n        await x()\n    except Exception:\n        pass\n", []),
        ("    try:\n        x()\n    except:\n        pass\n", []),
        ("    try: await x()\n    except asyncio.CancelledError: raise\n    except: pass\n", []),
        ("    try:\n        await x()\n    except* BaseException:\n        pass\n", ["HF-A028"]),
        ("    async with a() as b:\n        [c async for c in b]\n", []),
    ],
)
def test_fine_points(body: str, codes: list[str]) -> None:
    assert [finding.code for finding in audited(body)] == codes


def test_what_a_change_of_a_global_reads_of_it_is_no_finding_of_its_own() -> None:
    text = "from holdfast import workflow\nseen = []\n@workflow\nasync def f() -> int:\n"
    found = audit_source(f"{text}    seen.append(len(seen)); return len(seen)\n", "flow.py")
    assert [(finding.code, finding.column) for finding in found] == [("HF-A027", 5), ("HF-A027", 40)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def f(:\n", "flow.py:1: not Python"),
        ("x = 1\n  y = 2\n", "flow.py:2: not Python"),
        ("\0", "not Python"),
        ("x = " + "-" * 100_000 + "1", "not Python|nested too deep"),
        ("x = " + "(" * 5_000 + ")" * 5_000, "not Python|nested too deep"),
        (
            "from holdfast import workflow\n@workflow\nasync def f():\n    return " + "1+" * 5_000 + "1",
            "nested too deep",
        ),
    ],
)
def test_what_cannot_be_read_says_so(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        audit_source(text, "flow.py")


def test_a_file_that_makes_dags_is_known_without_importing_it() -> None:
    assert declares_dag("import holdfast as h\nif True:\n    etl = h.Dag('etl')\n", "a.py")
    assert declares_dag("from holdfast import Dag as D\netl = D('etl')\n", "a.py")
    assert not declares_dag("from holdfast import Dag\ndef make():\n    return Dag('x')\n", "a.py")
    assert not declares_dag("from airflow import Dag\netl = Dag('etl')\n", "a.py")


def standard_library() -> list[Path]:
    """A hundred of its files, from all over it, and those with all of Python's grammar in them."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(path for path in folder.glob("**/*.py") if "site-packages" not in path.parts)
    tested = [
        path for path in files if path.name in {"test_grammar.py", "test_patma.py", "test_generators.py"}
    ]
    modules = [path for path in files if "test" not in path.parts]
    return tested + modules[:: max(len(modules) // 100, 1)]


@pytest.mark.parametrize("batch", range(4))
def test_any_file_can_be_audited(batch: int) -> None:
    """As it is, and with every function made a workflow, so that all of its code is looked at."""
    audited_count = found_count = 0
    for path in standard_library()[batch::4]:
        try:
            with tokenize.open(path) as file:
                text = file.read()
            tree = ast.parse(text)
        except (SyntaxError, UnicodeDecodeError):  # some are there to be wrong
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                node.decorator_list = [ast.parse("__import__('holdfast').workflow", mode="eval").body]
        for source in (text, ast.unparse(tree)):
            findings = audit_source(source, str(path), level="pedantic")
            assert all(0 < (finding.line or 0) <= source.count("\n") + 1 for finding in findings)
            found_count += len(findings)
        audited_count += 1
    assert audited_count >= 20
    assert found_count >= 50
