"""`make bench-store`: the read model with many runs, on SQLite and PostgreSQL; p95 of what is asked, against limits.

The data stays in a folder for the next time: `--folder`, else `.bench-store`; a change of the tables begins a new one.
See `store_data.py` for how it is made. Writes `results/store.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.schema import CreateTable
from tests.store.postgres import Postgres

from benchmarks.store_data import WRITTEN, fill
from benchmarks.store_queries import QUERIES
from holdfast.run_filter import RunFilter
from holdfast.store.database import Database
from holdfast.store.export import export
from holdfast.store.rollup import BLOCK
from holdfast.store.schema import metadata

RESULTS = Path(__file__).parent / "results" / "store.json"
SETTINGS = ("shared_buffers=1GB", "work_mem=64MB", "max_wal_size=4GB")
EXPORT = "export"
EXPORT_LIMIT_MB = 100


def shape() -> str:
    """Names the tables as they are now: data of other tables is of no use."""
    text = "".join(str(CreateTable(table)) for table in metadata.sorted_tables) + str(BLOCK)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def cpu_seconds(server: Postgres | None) -> float:
    """What this process and PostgreSQL's have computed so far; only of use as a difference."""
    found = time.process_time()
    if server is None or sys.platform != "linux":
        return found
    main = (server.folder / "postmaster.pid").read_text("utf-8").split()[0]
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text("utf-8").rpartition(")")[2].split()
            if words[1] == main:  # a backend: its own time, in user and kernel mode
                ticks += int(words[11]) + int(words[12])
            elif stat.parent.name == main:  # of backends that have ended
                ticks += int(words[13]) + int(words[14])
    return found + ticks / os.sysconf("SC_CLK_TCK")


def measure(database: Database, server: Postgres | None, rounds: int, only: str) -> dict[str, Any]:
    """Print and return the p95 of each query, and what one costs of a core, in milliseconds.

    On an idle machine both are about the same; on a busy one, only the second tells of the query.
    """
    told: dict[str, Any] = {}
    for query in QUERIES:
        if only not in query.name:
            continue
        query.ask(database)  # what it reads is in memory then, as it is of a console that is open
        took: list[float] = []
        cpu = cpu_seconds(server)
        for _ in range(rounds):
            before = time.perf_counter()
            query.ask(database)
            took.append((time.perf_counter() - before) * 1000)
        cpu = (cpu_seconds(server) - cpu) / rounds * 1000
        p95 = sorted(took)[int(0.95 * (rounds - 1))]
        counts = database.has_search_index or not query.needs_search_index
        good = p95 <= query.limit_ms
        told[query.name] = {
            "p50_ms": round(sorted(took)[rounds // 2], 1),
            "p95_ms": round(p95, 1),
            "cpu_ms": round(cpu, 1),
            "limit_ms": query.limit_ms if counts else None,
            "ok": good or not counts,
            "measured": now(),
        }
        verdict = "ok" if good else "TOO SLOW" if counts else "no pg_trgm"
        print(
            f"  {query.name:<36} {p95:9.1f} ms, {cpu:7.1f} ms of a core  (limit {query.limit_ms:5.0f} ms)  {verdict}",
            flush=True,
        )
    return told


def now() -> str:
    """The time, for people."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def measure_export(database: Database, server: Postgres | None) -> dict[str, Any]:
    """Print and return how long an export of all takes, and how much memory."""
    for _ in zip(range(3), export(database, RunFilter()), strict=False):
        pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, cpu, size = time.monotonic(), cpu_seconds(server), 0
    for piece in export(database, RunFilter()):
        size += len(piece)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds, cpu = time.monotonic() - started, cpu_seconds(server) - cpu
    good = grown < EXPORT_LIMIT_MB
    print(
        f"  export of {size / 1e6:,.0f} MB: {seconds:.1f} s, {cpu:.1f} s of a core, {grown:.0f} MB more "
        f"(limit {EXPORT_LIMIT_MB})  {'ok' if good else 'TOO MUCH'}",
        flush=True,
    )
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "size_mb": round(size / 1e6),
        "grown_mb": round(grown, 1),
        "ok": good,
        "measured": now(),
    }


def one(name: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Fill and measure one database."""
    server = None
    if name == "postgresql":
        kind = "postgresql-own" if given.postgres_bin else name
        server = Postgres(folder / kind, bin_folder=given.postgres_bin, settings=SETTINGS)
        server.start()
    database = Database.open(server.url() if server else folder / "history.db")
    try:
        rate = fill(database, given.runs, given.written)
        print(f"{name}: {given.runs:,} runs, {10 * given.runs:,} steps", flush=True)
        if rate:
            print(f"  written: {rate:,.0f} runs/s of 10 steps each")
        told: dict[str, Any] = {"search_index": database.has_search_index, "written_per_second": rate}
        load = os.getloadavg()[0]
        told["queries"] = measure(database, server, given.rounds, given.query)
        if given.query in EXPORT:
            told["export"] = measure_export(database, server)
        told["load"] = [round(load, 1), round(os.getloadavg()[0], 1)]
        print(f"  load of the machine before and after: {told['load']}, {os.cpu_count()} cores")
        return told
    finally:
        database.close()
        if server:
            server.stop()


def main() -> int:
    """Fill and measure both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--written", type=int, default=WRITTEN, help="how many go through the writer")
    parser.add_argument("--rounds", type=int, default=40, help="how often each query is asked")
    parser.add_argument("--folder", type=Path, default=Path(".bench-store"), help="where the data stays")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--query", default="", help="only queries with this in their name, or `export`")
    parser.add_argument(
        "--postgres-bin", type=Path, help="the programs of another PostgreSQL, such as one with pg_trgm"
    )
    given = parser.parse_args()
    folder: Path = given.folder.resolve() / f"{given.runs}-{shape()}"
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        name: one(name, folder, given)
        for name in ("sqlite", "postgresql")
        if given.only in (None, name)
    }  # fmt: skip
    _keep(told, given)
    parts = [
        part for one_told in told.values() for part in (*one_told["queries"].values(), one_told.get("export"))
    ]
    return 0 if all(part["ok"] for part in parts if part) else 1


def _keep(told: dict[str, Any], given: argparse.Namespace) -> None:
    """Add to what was measured before of the same size."""
    about = {
        "runs": given.runs,
        "steps": 10 * given.runs,
        "through_the_writer": min(given.written, given.runs),
    }
    kept: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    if {name: kept.get(name) for name in about} != about:
        kept = about
    for name, part in told.items():
        before: dict[str, Any] = kept.get(name, {}) if given.query else {}
        if given.query:  # the load is that of all
            part = {key: part[key] for key in ("queries", EXPORT) if key in part}
        kept[name] = {
            **before,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            **part,
            "queries": {**before.get("queries", {}), **part["queries"]},
        }
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
