"""Who may import whom: the layers of ARCHITECTURE.md, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "holdfast": (ROOT / "sdk", set[str]()),
    "holdfast_executors": (ROOT / "executors", {"holdfast"}),
    "holdfast_server": (ROOT / "server", {"holdfast", "holdfast_executors"}),
    "holdfast_ui": (ROOT / "ui", {"holdfast"}),
}
"""Each package, its folder and the other packages of ours that it may import."""

FACES_TEMPORAL = {
    "holdfast.engine": "the Temporal shell",
    "holdfast.client": "speaks to the Temporal server",
    "holdfast.chaos.interceptor": "stands between the Temporal worker and the steps",
    "holdfast.indexer": "reads the histories of the Temporal server into the store",
    "holdfast.testing": "starts test servers, replays histories",
    "holdfast_server.codec_server": "speaks the codec protocol of Temporal's UI and command line",
    "holdfast.authoring.waits": "a workflow's clock, chance and patches are Temporal's",
}
"""Modules and packages that may import temporalio, with the reason."""

THIRD_PARTIES = {
    "streamlit": ("holdfast_ui",),
    "fastapi": ("holdfast_server",),
    "uvicorn": ("holdfast_server",),
    "typer": ("holdfast_server",),
    "rich": ("holdfast_server",),
    "sqlalchemy": ("holdfast.store", "holdfast.indexer"),
    "alembic": ("holdfast.store",),
    "psycopg": ("holdfast.store",),
    "openai": ("holdfast_executors", "holdfast.client.remote"),
    "httpx": ("holdfast_executors", "holdfast.client.remote"),
    "opentelemetry": ("holdfast.engine.telemetry",),
}
"""Libraries that belong to some layers only."""

HEAVY = [
    "httpx",
    "openai",
    "streamlit",
    "fastapi",
    "sqlalchemy",
    "zstandard",
    "cryptography",
    "boto3",
    "typer",
    "rich",
    "matplotlib",
    "opentelemetry",
]


def modules(package: str) -> Iterator[tuple[str, Path]]:
    folder = LAYERS[package][0]
    for path in sorted((folder / package).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(module: str, path: Path) -> Iterator[str]:
    """The absolute names of everything a file imports, at whatever depth."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            yield f"{base}.{node.module}" if node.module else base
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def within(name: str, *parents: str) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


@pytest.mark.parametrize("package", LAYERS)
def test_a_layer_imports_only_the_layers_below_it(package: str) -> None:
    forbidden = set(LAYERS) - LAYERS[package][1] - {package}
    wrong = [
        f"{module} imports {name}"
        for module, path in modules(package)
        for name in imports(module, path)
        if within(name, *forbidden)
    ]
    assert not wrong


def test_only_the_modules_that_face_temporal_import_it() -> None:
    wrong = [
        f"{module} imports {name}"
        for package in LAYERS
        for module, path in modules(package)
        for name in imports(module, path)
        if within(name, "temporalio") and not within(module, *FACES_TEMPORAL)
    ]
    assert not wrong


@pytest.mark.parametrize("library", THIRD_PARTIES)
def test_a_library_stays_in_its_layer(library: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for package in LAYERS
        for module, path in modules(package)
        for name in imports(module, path)
        if within(name, library) and not within(module, *THIRD_PARTIES[library])
    ]
    assert not wrong


def test_only_settings_reads_the_environment() -> None:
    wrong = [
        f"{module}:{node.lineno} uses os.{node.attr}"
        for package in LAYERS
        for module, path in modules(package)
        if module != "holdfast.settings"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "environb", "getenv", "getenvb"}
    ]
    assert not wrong


def test_no_module_is_over_400_lines() -> None:
    long = {
        module: count
        for package in LAYERS
        for module, path in modules(package)
        if (count := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert not long


def test_importing_holdfast_loads_no_optional_library() -> None:
    code = f"import sys, holdfast; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []


def test_no_two_test_files_give_steps_or_workflows_one_name() -> None:
    """A worker serves all that its process has imported, and a run of the tests imports them all."""
    apart = (
        "tests/spec/audit/corpus",
        "tests/static",
        "tests/faults",
    )  # never imported, or in a process of their own
    places: dict[tuple[str, str], set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        where = path.relative_to(ROOT).as_posix()
        if where.startswith(apart):
            continue
        for function in ast.parse(path.read_text("utf-8")).body:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for kind, name in _declared(function):
                    places.setdefault((kind, name), set()).add(where)
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def _declared(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str]]:
    for decorator in function.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Name) and called.id in ("step", "workflow"):
            options = decorator.keywords if isinstance(decorator, ast.Call) else []
            named = [o.value.value for o in options if o.arg == "name" and isinstance(o.value, ast.Constant)]
            yield called.id, str(named[0]) if named else function.name
