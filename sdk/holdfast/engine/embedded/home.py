"""What lies in a home, and the record that leads clients to its supervisor."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

_MAX_RECORD_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """Where an embedded server is and who runs it."""

    address: str
    """`127.0.0.1:PORT` of the Temporal frontend."""
    namespace: str
    """The Temporal namespace: always `default`."""
    ui_url: str
    """Temporal's own web UI."""
    home: Path | None
    """The directory that keeps the data, `None` for a server in memory."""
    blobs: Path
    """Where large payloads go: under the home, or in a temporary directory for a server in memory."""
    server_pid: int
    supervisor_pid: int


@dataclass(frozen=True)
class Home:
    """The files of one home."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "server.json"

    @property
    def database(self) -> Path:
        return self.root / "temporal.db"

    @property
    def creating(self) -> Path:
        """Exists while the database is being created (see `database`)."""
        return self.root / "temporal.db.creating"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def server_log(self) -> Path:
        return self.root / "server.log"

    @property
    def supervisor_log(self) -> Path:
        return self.root / "supervisor.log"

    @property
    def indexer_log(self) -> Path:
        return self.root / "indexer.log"

    @property
    def hints(self) -> Path:
        """A folder with a socket of each indexer that wants to be told of runs at once."""
        return self.root / "hints"

    @property
    def start_lock(self) -> Path:
        """Held by the client that is starting a supervisor: it keeps a crowd from starting one each."""
        return self.root / "start.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor all its life: it alone decides that a home has one server."""
        return self.root / "supervisor.lock"


@dataclass(kw_only=True)
class Record:
    """The content of `server.json`. After a clean stop only the ports are left."""

    version: int = 1
    port: int = 0
    ui_port: int = 0
    control_port: int = 0
    token: str = field(default="", repr=False)
    supervisor_pid: int = 0
    server_pid: int = 0

    @property
    def live(self) -> bool:
        """Whether it claims a running supervisor; only the handshake proves one."""
        return bool(self.control_port and self.token)

    def write(self, path: Path) -> None:
        """Replace the file at once, readable by its owner only."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            json.dump(asdict(self), file)
        os.replace(temporary, path)

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """The record at `path`, or `None` if there is none or what is there makes no sense."""
        try:
            with open(path, "rb") as file:
                loaded: Any = json.loads(file.read(_MAX_RECORD_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(loaded, dict):
            return None
        raw = cast("dict[str, Any]", loaded)
        ports = [raw.get(key) for key in ("port", "ui_port", "control_port")]
        pids = [raw.get(key) for key in ("supervisor_pid", "server_pid")]
        token = raw.get("token")
        if raw.get("version") != 1 or not isinstance(token, str):
            return None
        if not all(type(port) is int and 0 <= port < 65536 for port in ports):
            return None
        if not all(type(pid) is int and 0 <= pid < 1 << 31 for pid in pids):
            return None
        return cls(**{key: raw[key] for key in asdict(cls())})
