"""Where secrets come from, and how an executor gets one: by name, at the last moment, never through a run's history."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from holdfast.errors import InvalidConfiguration, InvalidInput, NotFound, Unavailable
from holdfast.redaction import Redactor
from holdfast.settings import PREFIX_OF_SECRETS, load, read_secret

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}", re.ASCII)
"""What a secret may be called."""

MAX_CHARS: Final = 64 * 1024
"""No secret is longer."""


GROUP: Final = "holdfast.secrets"
"""The group of entry points in which packages name what makes their `SecretSource`: a class or a function without
parameters."""


@runtime_checkable
class SecretSource(Protocol):
    """A place that has secrets, such as a vault. Give one to `Worker(secrets=...)`, or install a package with one."""

    async def find(self, name: str) -> str | None:
        """The secret of that name; None if it is not here. What it raises fails the attempt, which is made again."""
        ...

    def place(self, name: str) -> str:
        """Where it looks for that name, for messages."""
        ...


@dataclass(frozen=True)
class EnvironmentSecrets:
    """Secrets in the environment: `HOLDFAST_SECRET_<NAME>`."""

    async def find(self, name: str) -> str | None:
        """See `SecretSource`."""
        return read_secret(name)

    def place(self, name: str) -> str:
        """See `SecretSource`."""
        return f"the environment variable {PREFIX_OF_SECRETS}{name}"


@dataclass(frozen=True)
class FolderSecrets:
    """Secrets as files of one folder, as Docker and Kubernetes mount them: the name is the file's, the text its value
    without the line break at its end.

    Args:
        folder: The folder.
    """

    folder: Path

    async def find(self, name: str) -> str | None:
        """See `SecretSource`.

        Raises:
            Unavailable: There is such a file, and it cannot be read.
        """
        path = self.folder / name
        try:
            with path.open(encoding="utf-8") as file:
                return file.read(MAX_CHARS + 1).removesuffix("\n").removesuffix("\r")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(
                f"the secret {name!r} is in {path}, which cannot be read: {type(error).__name__}"
            ) from None

    def place(self, name: str) -> str:
        """See `SecretSource`."""
        return f"the file {self.folder / name}"


@dataclass(frozen=True)
class GivenSecrets:
    """Secrets given in code, for tests and for programs that have them from elsewhere.

    Args:
        values: By name.
    """

    values: Mapping[str, str]

    def __repr__(self) -> str:
        return f"GivenSecrets({', '.join(sorted(self.values))})"

    async def find(self, name: str) -> str | None:
        """See `SecretSource`."""
        return self.values.get(name)

    def place(self, name: str) -> str:
        """See `SecretSource`."""
        return "the secrets given to the worker"


class InstalledSecrets:
    """Secrets of an installed package. It is imported when the places before it do not have a secret.

    Args:
        entry: Its entry point.
    """

    def __init__(self, entry: EntryPoint) -> None:
        self._entry = entry
        self._package = entry.dist.name if entry.dist is not None else entry.module
        self._source: SecretSource | None = None

    async def find(self, name: str) -> str | None:
        """See `SecretSource`.

        Raises:
            InvalidConfiguration: The package cannot be used.
        """
        if self._source is None:
            self._source = await asyncio.to_thread(self._make)
        return await self._source.find(name)

    def place(self, name: str) -> str:
        """See `SecretSource`."""
        there = self._source.place(name) if self._source is not None else self._entry.name
        return f"{there} (package {self._package!r})"

    def _make(self) -> SecretSource:
        what = f"the secrets {self._entry.name!r} of package {self._package!r}"
        try:
            made: object = self._entry.load()()
        except BaseException as error:
            # Whatever a package does when it is imported must not end the worker, `sys.exit` included.
            if isinstance(error, KeyboardInterrupt | GeneratorExit):
                raise
            raise InvalidConfiguration(
                f"{what} cannot be loaded from {self._entry.value!r}: {type(error).__name__}: {error}"
            ) from None
        if not isinstance(made, SecretSource):
            raise InvalidConfiguration(
                f"{what}: {self._entry.value!r} makes {made!r}, which is no SecretSource"
            )
        return made


Given = Mapping[str, str] | SecretSource


def secret_sources(given: Given | None = None) -> list[SecretSource]:
    """The places to look into, in this order: what code gives, the environment, the folder that
    `HOLDFAST_SECRETS_DIR` names, installed packages by the names of their entry points."""
    folder = load().secrets_dir
    sources: list[SecretSource] = [EnvironmentSecrets()]
    if given is not None:
        sources.insert(0, GivenSecrets(given) if isinstance(given, Mapping) else given)
    if folder is not None:
        sources.append(FolderSecrets(folder))
    return sources + [InstalledSecrets(entry) for entry in _installed(tuple(sys.path))]


@functools.lru_cache(maxsize=4)
def _installed(path: tuple[str, ...]) -> list[EntryPoint]:
    """The entry points on a path, read once: each call of an executor outside a worker asks for them."""
    del path  # importlib reads sys.path itself
    return sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name)


class Secrets:
    """The secrets that one attempt asks for.

    Args:
        sources: Where to look, first one first.
        redactor: Learns each value that is given out.
    """

    def __init__(self, sources: Sequence[SecretSource], redactor: Redactor) -> None:
        self._sources = sources
        self._redactor = redactor
        self.given: dict[str, str] = {}
        """Those that were given out, by name."""
        self.refused: frozenset[str] = frozenset()
        """Those that somebody names who may not, such as a model that writes a part of a config."""

    async def get(self, name: str) -> str:
        """The secret of that name. Use it at once and keep it nowhere; errors, logs and results of this attempt show
        `***` in its place.

        Raises:
            NotFound: No source has it.
            InvalidInput: No secret can have that name, or it is named by somebody who may not.
        """
        if name in self.refused:
            raise InvalidInput(f"the secret {name!r} is not named by the document")
        if NAME.fullmatch(name) is None:
            raise InvalidInput(
                f"{name!r} is no name of a secret: use letters, digits, '_' and '-', at most 128"
            )
        for source in self._sources:
            value = await source.find(name)
            if value is None:
                continue
            if not value or len(value) > MAX_CHARS:
                what = f"has more than {MAX_CHARS} characters" if value else "is empty"
                raise InvalidInput(f"the secret {name!r} {what}; it comes from {source.place(name)}")
            self._redactor.add(value)
            self.given[name] = value
            return value
        places = "; ".join(source.place(name) for source in self._sources)
        raise NotFound(f"there is no secret {name!r}; looked for in: {places}")
