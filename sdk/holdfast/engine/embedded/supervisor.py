"""The detached process that owns a home's server: starts it, restarts it, and stops it when nobody uses it.

It imports the standard library and its neighbours only (see `bootstrap`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from . import database, ports
from .home import Home, Record
from .indexing import Indexing
from .lock import FileLock
from .logs import rotate
from .processes import end, runs
from .protocol import new_secret
from .server import Server, ServerSpec, StartFailed
from .users import Users

log = logging.getLogger("holdfast.supervisor")

_RESTART_DELAYS = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Waits before starts in a row; a server that does not come up so many times is given up."""
_STABLE_SECONDS = 2.0
_PORT_ATTEMPTS = 10
_FIRST_USER_SECONDS = 10.0


class Supervisor:
    """Owns one home and its server."""

    def __init__(self, options: argparse.Namespace, lock: FileLock) -> None:
        self._home = Home(Path(options.home))
        self._binary: str = options.binary
        self._in_memory: bool = options.in_memory
        self._time_skipping: bool = options.time_skipping
        self._lock = lock
        self._previous = Record.read(self._home.record) or Record()
        self._record = Record(token=new_secret(), supervisor_pid=os.getpid())
        self._stop = asyncio.Event()
        self._users = Users(self._record.token, on_stop=self._stop.set)
        self._indexing = Indexing(self._home, options.indexer) if options.indexer else None
        self._skip = 0
        self._reserved: list[ports.Reservation] = []
        self._record_stamp: tuple[int, int] | None = None

    async def run(self) -> None:
        """Serve until the last user has gone, a stop is asked for, or the server cannot be kept up."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # Windows
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._users.request_stop)
        self._end_leftover()
        self._record.port, self._record.ui_port = self._previous.port, self._previous.ui_port
        self._record.control_port = await self._users.listen()
        self._write_record()
        report({"type": "listening"})
        self._users.expect(_FIRST_USER_SECONDS)
        tasks = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._watch())]
        stop = asyncio.create_task(self._stop.wait())
        beside = [asyncio.create_task(self._indexing.run())] if self._indexing is not None else []
        try:
            done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # The listener goes first: who comes now waits for the lock and starts a fresh supervisor.
            self._users.refuse_new()
            for task in (*tasks, stop, *beside):
                task.cancel()
            await asyncio.wait([*tasks, stop, *beside])
            self._leave()
            self._users.close()
        for task in done:
            task.result()

    def _leave(self) -> None:
        if self._in_memory:
            shutil.rmtree(self._home.root, ignore_errors=True)
        elif self._lock.in_place():
            Record(port=self._record.port, ui_port=self._record.ui_port).write(self._home.record)

    def _end_leftover(self) -> None:
        """Kill the server of a supervisor that was killed, where the kernel did not (it does on Linux)."""
        marks = [self._binary, "start-dev", str(self._home.root), f"--port {self._previous.port} "]
        pid = self._previous.server_pid
        if pid and runs(pid, marks):
            log.warning("ending the server (pid %d) that a killed supervisor left behind", pid)
            end(pid, marks)

    async def _keep_up(self) -> None:
        failures = 0
        while True:
            await asyncio.sleep(_RESTART_DELAYS[min(failures, len(_RESTART_DELAYS) - 1)])
            began = time.monotonic()
            try:
                server = await self._start()
            except StartFailed as error:
                log.error("%s", error)
                failures += 1
                if not self._users.served or failures >= len(_RESTART_DELAYS):
                    await self._users.give_up(str(error))
                    return
                continue
            try:
                code = await server.wait()
            except asyncio.CancelledError:
                await (server.kill() if self._in_memory else server.stop())
                raise
            log.warning("the server (pid %d) ended with exit code %d, starting it again", server.pid, code)
            failures = 0 if time.monotonic() - began > _STABLE_SECONDS else failures + 1
            self._users.server_down()

    async def _start(self) -> Server:
        for attempt in range(_PORT_ATTEMPTS):
            if not self._in_memory:
                database.begin(self._home)
            server = await Server.start(self._spec())
            self._record.server_pid = server.pid
            self._write_record()
            try:
                await server.ready()
            except asyncio.CancelledError:
                await server.kill()
                raise
            except StartFailed as error:
                if error.port_taken is None or attempt == _PORT_ATTEMPTS - 1:
                    raise
                log.info("another process was faster on a %s port, trying again", error.port_taken)
                if error.port_taken == "public":
                    self._give_up_ports()
                continue
            database.finish(self._home)
            address = f"127.0.0.1:{self._record.port}"
            if self._indexing is not None:
                self._indexing.serve(address)
            self._users.server_up(
                address=address,
                ui_port=self._record.ui_port,
                server_pid=server.pid,
                supervisor_pid=os.getpid(),
            )
            return server
        raise AssertionError("the loop returns or raises")

    def _spec(self) -> ServerSpec:
        if not self._reserved:
            self._record.port = self._reserve(ports.PREFERRED_PORT, self._record.port)
            self._record.ui_port = self._reserve(ports.PREFERRED_UI_PORT, self._record.ui_port)
        private = ports.reserve(ports.private_start())
        if private is None:
            raise StartFailed("No free port on 127.0.0.1 for the server's HTTP API: end some processes.")
        private.close()
        return ServerSpec(
            binary=self._binary,
            database=None if self._in_memory else self._home.database,
            log=self._home.server_log,
            port=self._record.port,
            ui_port=self._record.ui_port,
            http_port=private.port,
            time_skipping=self._time_skipping,
        )

    def _reserve(self, preferred: int, own: int) -> int:
        first = ports.private_start() if self._in_memory else preferred + self._skip
        reservation = ports.reserve(first, own=own)
        if reservation is None:
            self._give_up_ports()
            raise StartFailed(
                f"No free port on 127.0.0.1 in {first}-{first + ports.SPAN - 1}: end some of the processes there."
            )
        self._reserved.append(reservation)
        return reservation.port

    def _give_up_ports(self) -> None:
        for reservation in self._reserved:
            reservation.close()
        self._reserved.clear()
        self._record.port = self._record.ui_port = 0
        # Where ports cannot be held, homes that start together choose the same: chance parts them.
        self._skip = random.randrange(8)

    def _write_record(self) -> None:
        self._record.write(self._home.record)
        self._record_stamp = self._stamp()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._home.record.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    async def _watch(self) -> None:
        """Once a second: stop when idle or homeless, mend the record, bound the log."""
        while not self._users.idle():
            if not self._lock.in_place():
                log.error("the home %s was deleted, stopping", self._home.root)
                return
            if self._stamp() != self._record_stamp:
                log.warning("the record %s was changed or deleted, writing it again", self._home.record)
                self._write_record()
            for file in (self._home.server_log, self._home.indexer_log):
                rotate(file)
            await self._users.changed(1.0)


def report(message: dict[str, Any]) -> None:
    """Tell the starting client, once, and let go of its pipe."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)


def main(arguments: list[str]) -> None:
    """Detach, take the lock and supervise."""
    parser = argparse.ArgumentParser(prog="holdfast-supervisor")
    parser.add_argument("--home", required=True)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--indexer", help="the interpreter that runs it")
    parser.add_argument("--in-memory", action="store_true")
    parser.add_argument("--time-skipping", action="store_true")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    if sys.platform != "win32" and os.fork() > 0:
        # The starting process would otherwise have a child to reap that outlives its interest.
        os._exit(0)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    lock = FileLock(Home(Path(options.home)).supervisor_lock)
    try:
        if not lock.acquire(2.0):
            report({"type": "failed", "message": "another supervisor holds the lock"})
            return
        asyncio.run(Supervisor(options, lock).run())
    except OSError as error:
        log.exception("the supervisor cannot work in %s", options.home)
        report({"type": "failed", "message": str(error)})
        sys.exit(1)
