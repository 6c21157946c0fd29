"""What `APP` means, and what `--input` means for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import InvalidInput, InvalidWorkflow, NotFound, Workflow, workflow
from holdfast.authoring.registry import fresh_registry
from holdfast_server.apps import load_app, where_to_look
from holdfast_server.cli.values import arguments, read_json
from holdfast_server.samples import run_command

FLOW = """
from holdfast import workflow

@workflow
async def {name}() -> str:
    return "{name}"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder with a package `shop_app`, and an import system that forgets."""
    package = tmp_path / "shop_app"
    (package / "parts").mkdir(parents=True)
    for file in ("__init__.py", "parts/__init__.py"):
        (package / file).write_text("")
    (package / "__main__.py").write_text("raise SystemExit('started')")
    (package / "orders.py").write_text(FLOW.format(name="fulfil") + FLOW.format(name="give_back"))
    (package / "parts" / "bills.py").write_text(FLOW.format(name="bill"))
    (tmp_path / "loose_flow.py").write_text(FLOW.format(name="loose"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    with fresh_registry():
        yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"shop_app", "loose_flow", "broken_flow", "json", "guardless"}:
            del sys.modules[name]


@pytest.mark.parametrize(
    ("app", "names"),
    [
        ("loose_flow.py", ["loose"]),
        ("./loose_flow.py", ["loose"]),
        ("loose_flow", ["loose"]),
        ("loose_flow:loose", ["loose"]),
        ("shop_app/orders.py", ["fulfil", "give_back"]),
        ("shop_app/orders.py:fulfil", ["fulfil"]),
        ("shop_app.orders", ["fulfil", "give_back"]),
        ("shop_app.*", ["bill", "fulfil", "give_back"]),
        ("shop_app.*:bill", ["bill"]),
        ("shop_app/parts/bills.py", ["bill"]),
    ],
)
def test_files_modules_and_packages(app: str, names: list[str]) -> None:
    assert sorted(load_app(app).workflows) == names
    assert where_to_look(app)


def test_a_file_in_a_package_keeps_its_full_name(folder: Path) -> None:
    found = load_app(str(folder / "shop_app" / "orders.py")).workflows["fulfil"]
    assert found.__module__ == "shop_app.orders"


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("missing.py", "no file"),
        ("shop_app.missing", "no module 'shop_app.missing'"),
        ("shop_app.orders.*", "is a module, not a package"),
        ("shop_app.orders:nothing", "workflows there: fulfil, give_back"),
        ("loose_flow:workflow", "is no @workflow"),
        ("not-a-name", "neither a file"),
    ],
)
def test_what_does_not_exist_is_not_found(app: str, says: str) -> None:
    with pytest.raises(NotFound, match=says):
        load_app(app)


def test_several_workflows_ask_for_a_name() -> None:
    with pytest.raises(NotFound, match=r"shop_app\.orders:fulfil, shop_app\.orders:give_back"):
        load_app("shop_app.orders").only()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\nx.nothing\n", r"broken_flow\.py:2: AttributeError"),
        ("def f(:\n", r"broken_flow\.py:1: SyntaxError"),
        (
            "import no_such_library\n",
            r"broken_flow\.py:1: ModuleNotFoundError: No module named 'no_such_library'",
        ),
        ("raise SystemExit(3)\n", r"__main__"),
    ],
)
def test_code_that_cannot_be_imported_is_named_with_its_line(folder: Path, source: str, says: str) -> None:
    (folder / "broken_flow.py").write_text(source)
    with pytest.raises(InvalidWorkflow, match=says):
        load_app("broken_flow.py")


def test_a_file_that_hides_behind_another_module_is_refused(folder: Path) -> None:
    (folder / "json.py").write_text(FLOW.format(name="hidden"))
    with pytest.raises(InvalidWorkflow, match="rename the file"):
        load_app("json.py")


class Order(BaseModel):
    number: str
    price: float = 1.0


@workflow
async def one_model(order: Order) -> None: ...


@workflow
async def one_text(name: str) -> None: ...


@workflow
async def one_list(numbers: list[int]) -> None: ...


@workflow
async def several(name: str, times: int = 1, order: Order | None = None) -> None: ...


@workflow
async def nothing() -> None: ...


A1 = Order(number="A-1")


@pytest.mark.parametrize(
    ("flow", "value", "expected"),
    [
        (one_model, {"number": "A-1"}, [A1]),
        (one_model, {"order": {"number": "A-1"}}, [A1]),
        (one_model, [{"number": "A-1"}], [A1]),
        (one_text, "Ada", ["Ada"]),
        (one_text, ["Ada"], ["Ada"]),
        (one_list, [1, 2], [[1, 2]]),
        (one_list, [[1, 2]], [[1, 2]]),
        (one_list, [], [[]]),
        (several, "Ada", ["Ada", 1, None]),
        (several, ["Ada", 2], ["Ada", 2, None]),
        (several, {"name": "Ada", "order": {"number": "A-1"}}, ["Ada", 1, A1]),
        (nothing, [], []),
        (nothing, {}, []),
    ],
)
def test_one_json_value_becomes_the_arguments(
    flow: Workflow[..., Any], value: Any, expected: list[Any]
) -> None:
    assert arguments(flow, value) == expected


@pytest.mark.parametrize(
    ("flow", "value", "says"),
    [
        (one_model, {"price": 3}, r"number: Field required"),
        (one_model, {"order": {"price": 3}}, r"number: Field required"),
        (one_model, "A-1", r"'order'.*got 'A-1'"),
        (one_list, [1, "x"], r"\[1\]"),
        (several, {"nme": "Ada"}, r"no parameter|misses"),
        (several, ["Ada", "x"], r"'times'"),
        (nothing, "x", r"1 arguments"),
    ],
)
def test_an_input_that_does_not_fit_is_explained(flow: Workflow[..., Any], value: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        arguments(flow, value)


@pytest.mark.parametrize("text", ["{", "NaN", "[1,]", '"\\ud800"', "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no JSON"):
        read_json(text, option="--input")


@pytest.mark.parametrize("flow", [one_model, one_text, one_list, several])
def test_the_offered_command_has_an_input_that_fits(flow: Workflow[..., Any]) -> None:
    import shlex

    words = shlex.split(run_command("app.py", flow))
    assert words[:4] == ["holdfast", "run", f"app.py:{flow.name}", "--input"]
    assert len(arguments(flow, read_json(words[4], option="--input"))) == len(flow.signature.names)
