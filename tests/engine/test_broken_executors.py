"""Packages whose executors cannot be used: the worker works, and who needs one is told which package it is."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.executors.plugin_packages import PROBLEMS, SOURCES, install

from holdfast import Client, Dag, InvalidExecutor, RunFailed, Worker
from holdfast.authoring.registry import fresh_registry, registry


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Good and bad packages are installed, and nothing has looked for executors yet."""
    install(tmp_path, *SOURCES)
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]
    importlib.invalidate_caches()
    with fresh_registry():
        yield
    for name in SOURCES:
        sys.modules.pop(f"hf_{name}", None)


def one_node(kind: str) -> Dag:
    dag = Dag(f"with_{kind}")
    dag.node("only", executor=kind, config={})
    return dag


@pytest.mark.usefixtures("packages")
async def test_a_worker_starts_and_serves_the_good_ones(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, []):
        assert "hf_good" not in sys.modules, "packages are imported when their type is needed"
        assert await holdfast_client.run(one_node("good"), None) == [{}, {}]


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("kind", PROBLEMS)
async def test_a_node_of_a_broken_type_fails_at_once_and_names_the_package(
    holdfast_client: Client, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    async with Worker(holdfast_client, []):
        run = await holdfast_client.start(one_node(kind), None)
        with pytest.raises(RunFailed) as failed:
            await run.result()
        [step] = (await run.describe()).steps
        assert step.attempt == 1
        assert await holdfast_client.run(one_node("good"), None) == [{}, {}]
    for said in (str(failed.value), caplog.text):
        assert PROBLEMS[kind] in said
    assert sum(
        PROBLEMS[kind] in record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR
    )


@pytest.mark.usefixtures("packages")
def test_two_packages_of_one_type_are_both_named() -> None:
    with pytest.raises(InvalidExecutor) as refused:
        registry().executors.find("transform")
    for part in (
        "holdfast (holdfast_executors.transform:Transform)",
        "hf-usurper (hf_usurper:Good)",
        "rename one",
    ):
        assert part in str(refused.value)
    assert refused.value.details["package"] in ("holdfast and hf-usurper", "hf-usurper and holdfast")


@pytest.mark.usefixtures("packages")
def test_what_is_wrong_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        assert {problem.type for problem in registry().executors.problems()} == PROBLEMS.keys()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == len(PROBLEMS)


@pytest.mark.usefixtures("packages")
def test_a_type_that_nobody_has_is_an_error_that_suggests_one() -> None:
    with pytest.raises(InvalidExecutor, match=r"there is no executor 'goood' here\. Did you mean 'good'\?"):
        registry().executors.find("goood")
