"""The only reader of the environment. Explicit arguments beat the environment, which beats the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from holdfast.errors import InvalidConfiguration

HOME_NAME = ".holdfast"

_MAX_DAYS = 36_500

PREFIX_OF_SECRETS = "HOLDFAST_SECRET_"
"""Before the name of a secret in the environment."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long the history keeps what; `None` is for ever."""

    runs: timedelta | None = timedelta(days=90)
    """Since a run was closed. Open runs are never deleted."""

    events: timedelta | None = timedelta(days=14)
    """Since they happened. Who listens must come back within this time to miss none."""

    letters: timedelta | None = timedelta(days=90)
    """Since dead letters were resolved or abandoned. Pending ones stay."""

    actions: timedelta | None = timedelta(days=365)
    """Since an entry was written to the record of actions."""

    figures: timedelta = timedelta(days=730)
    """By hour and day: they outlast the runs. Since the runs started."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment says, read once per call of `load`."""

    home: Path
    """Where the embedded server keeps its data. `HOLDFAST_HOME`, else `.holdfast` here or in a parent, else
    `.holdfast` here."""

    temporal_binary: str | None
    """Path of the `temporal` binary. `HOLDFAST_TEMPORAL_BINARY`, else found by itself."""

    log_level: str
    """`HOLDFAST_LOG_LEVEL`, default `INFO`."""

    log_format: str
    """`HOLDFAST_LOG_FORMAT`: `text` or `json`, which is one object a line. Default `text`."""

    encryption_keys: str | None
    """`HOLDFAST_ENCRYPTION_KEYS`: `id:base64key[,id:base64key...]`, the first one encrypts. Default: no encryption."""

    compress: bool
    """`HOLDFAST_COMPRESS`: `1` compresses payloads with zstd. Default `0`."""

    storage: str | None
    """`HOLDFAST_STORAGE`: where payloads over 32 KiB go, a directory or `s3://bucket/prefix`. Default: `blobs` under
    the home for an embedded client, inline for a cluster."""

    secrets_dir: Path | None
    """`HOLDFAST_SECRETS_DIR`: a folder whose files are secrets. Default: none."""

    http_allow: str | None
    """`HOLDFAST_HTTP_ALLOW`: hosts and networks that the http executor reaches besides public addresses, such as
    `localhost:8080, 10.1.0.0/16`. Default: none."""

    database_url: str | None
    """`HOLDFAST_DATABASE_URL`: where the history of runs is kept, `postgresql://user:password@host:5432/name` or
    `sqlite:///path`. Default: `history.db` under the home."""

    retention: Retention
    """How long the history keeps what, in whole days; 0, here `None`, for ever. `HOLDFAST_RETENTION_DAYS`: runs after
    their end, default 90; `HOLDFAST_EVENT_RETENTION_DAYS`: events, default 14; `HOLDFAST_DEAD_LETTER_RETENTION_DAYS`:
    dead letters after they were settled, default 90; `HOLDFAST_AUDIT_RETENTION_DAYS`: the record of actions, default
    365."""

    indexer: Literal["auto", "off"]
    """`HOLDFAST_INDEXER`: `auto` lets the supervisor of an embedded home keep the history of its runs up to date, where
    the extra `store` is installed; `off` does not. Read when the server is started. Default `auto`."""

    metrics: str | None
    """`HOLDFAST_METRICS`: the address, such as `127.0.0.1:9464`, at which `holdfast worker` serves metrics for
    Prometheus. Default: none."""

    otel: Mapping[str, str]
    """OpenTelemetry's own variables, which all begin with `OTEL_`."""


def load(home: str | Path | None = None) -> Settings:
    """Read the environment.

    Args:
        home: An explicit home, which wins over the environment.

    Raises:
        InvalidConfiguration: A variable has a value that it cannot have.
    """
    env = os.environ
    return Settings(
        home=Path(home).expanduser().resolve() if home is not None else _find_home(env.get("HOLDFAST_HOME")),
        temporal_binary=env.get("HOLDFAST_TEMPORAL_BINARY") or None,
        log_level=env.get("HOLDFAST_LOG_LEVEL", "INFO").upper(),
        log_format=env.get("HOLDFAST_LOG_FORMAT", "").lower() or "text",
        encryption_keys=env.get("HOLDFAST_ENCRYPTION_KEYS") or None,
        compress=_switch("HOLDFAST_COMPRESS", env.get("HOLDFAST_COMPRESS", "")),
        storage=env.get("HOLDFAST_STORAGE") or None,
        secrets_dir=Path(folder).expanduser() if (folder := env.get("HOLDFAST_SECRETS_DIR")) else None,
        http_allow=env.get("HOLDFAST_HTTP_ALLOW") or None,
        database_url=env.get("HOLDFAST_DATABASE_URL") or None,
        retention=Retention(
            runs=_days("HOLDFAST_RETENTION_DAYS", env, Retention.runs),
            events=_days("HOLDFAST_EVENT_RETENTION_DAYS", env, Retention.events),
            letters=_days("HOLDFAST_DEAD_LETTER_RETENTION_DAYS", env, Retention.letters),
            actions=_days("HOLDFAST_AUDIT_RETENTION_DAYS", env, Retention.actions),
        ),
        indexer=_indexer(env.get("HOLDFAST_INDEXER", "")),
        metrics=env.get("HOLDFAST_METRICS") or None,
        otel={name: value for name, value in env.items() if name.startswith("OTEL_")},
    )


def read_secret(name: str) -> str | None:
    """The value of `HOLDFAST_SECRET_<name>`, read at this moment."""
    return os.environ.get(PREFIX_OF_SECRETS + name)


def secrets_here() -> list[str]:
    """The values of all secrets in the environment, to be hidden in what is written for others."""
    return [value for name, value in os.environ.items() if name.startswith(PREFIX_OF_SECRETS) and value]


def environment_with(**variables: str) -> dict[str, str]:
    """The environment of a process that is started with some variables set."""
    return {**os.environ, **variables}


def _switch(name: str, value: str) -> bool:
    if value.lower() in {"1", "true", "yes", "on"}:
        return True
    if value.lower() in {"", "0", "false", "no", "off"}:
        return False
    raise InvalidConfiguration(f"{name}={value!r}: use 1 or 0")


def _indexer(value: str) -> Literal["auto", "off"]:
    match value.lower() or "auto":
        case "auto" | "off" as known:
            return known
        case _:
            raise InvalidConfiguration(f"HOLDFAST_INDEXER={value!r}: use auto or off")


def _days(name: str, env: Mapping[str, str], default: timedelta | None) -> timedelta | None:
    value = env.get(name)
    if not value:
        return default
    if not (value.isascii() and value.isdecimal()) or int(value) > _MAX_DAYS:
        raise InvalidConfiguration(
            f"{name}={value!r}: use a whole number of days up to {_MAX_DAYS}, or 0 for ever"
        )
    return timedelta(days=int(value)) if int(value) else None


def _find_home(from_environment: str | None) -> Path:
    if from_environment:
        return Path(from_environment).expanduser().resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / HOME_NAME).is_dir():
            return folder / HOME_NAME
    return here / HOME_NAME
