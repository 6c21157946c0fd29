"""Which server a command uses, and how it says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast import Client, InvalidConfiguration
from holdfast.settings import load
from holdfast_server.cli.output import busy, note


@dataclass(frozen=True, kw_only=True)
class Target:
    """The options that every command has."""

    home: str | None = None
    address: str | None = None
    namespace: str | None = None
    profile: str | None = None
    json: bool = False
    debug: bool = False

    @property
    def cluster(self) -> bool:
        """Whether it is a cluster rather than the embedded server of a home."""
        return any((self.address, self.namespace, self.profile))

    @property
    def home_folder(self) -> Path:
        """The home in force.

        Raises:
            InvalidConfiguration: A cluster is asked for.
        """
        if self.cluster:
            raise InvalidConfiguration(
                "this is about the embedded server: use it without --address, --namespace, --profile"
            )
        return load(self.home).home

    @property
    def arguments(self) -> list[str]:
        """The same choice as arguments for another process."""
        if self.cluster:
            named = (
                ("--address", self.address),
                ("--namespace", self.namespace),
                ("--profile", self.profile),
            )
            return [part for key, value in named if value for part in (key, value)]
        return ["--home", str(self.home_folder)]

    def announce(self) -> None:
        """Print the home on stderr."""
        note(f"home {self.home_folder}", style="dim")

    @asynccontextmanager
    async def connect(
        self, *, start: bool, announce: bool = True, metrics: str | None = None, via: str | None = None
    ) -> AsyncGenerator[Client]:
        """Connect, and print where to on stderr.

        Args:
            start: Whether to start the embedded server when it does not run. Commands that only read do not.
            announce: Whether to print where.
            metrics: Where to serve metrics for Prometheus.
            via: A proxy in front of the embedded server.

        Raises:
            Unavailable: It does not run or does not answer.
            InvalidConfiguration: `--home` together with options of a cluster.
        """
        if self.cluster and self.home is not None:
            raise InvalidConfiguration(
                "--home names an embedded server, --address a cluster: give one of them"
            )
        if self.cluster and via is not None:
            raise InvalidConfiguration("--via is for embedded servers: name the proxy with --address")
        if self.cluster:
            client = Client.connect(
                self.address, namespace=self.namespace, profile=self.profile, metrics=metrics
            )
        else:
            if announce:
                self.announce()
            client = Client.embedded(self.home_folder, start=start, metrics=metrics, via=via)
        with busy("connecting"):
            await client
        if self.cluster and announce:
            note(f"cluster {client.address}, namespace {client.namespace}", style="dim")
        try:
            yield client
        finally:
            await client.close()
