"""`holdfast codec-server`: let Temporal's UI and CLI read encoded and stored payloads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from holdfast import InvalidConfiguration, NotFound, Unavailable
from holdfast.client.connection import data_converter
from holdfast.settings import load
from holdfast_server.cli.command import command
from holdfast_server.cli.output import note, print_json, say
from holdfast_server.cli.target import Target
from holdfast_server.codec_server import DEFAULT_ORIGINS, DEFAULT_PORT, CodecServer


def add(app: typer.Typer) -> None:
    """Register the command."""
    command(app, "codec-server", serves=True)(codec_server)


async def codec_server(
    target: Target,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = DEFAULT_PORT,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that callers must send; needed beyond this machine."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Where Temporal's UI is; may be repeated. Default: port 8233 here."),
    ] = None,
) -> None:
    """Serve Temporal's codec protocol with the keys and the storage of this environment, until Ctrl-C."""
    settings = load(target.home)
    storage = settings.storage or (None if target.cluster else settings.home / "blobs")
    if not target.cluster:
        target.announce()
    try:
        server = CodecServer(
            data_converter(settings, storage=storage),
            host=host,
            port=port,
            token=_token(token_file),
            origins=origin or DEFAULT_ORIGINS,
        )
    except OSError as error:
        raise Unavailable(
            f"port {port} on {host} cannot be used: {error.strerror}; choose another with --port"
        ) from error
    with server:
        if target.json:
            print_json({"url": server.url}, indent=None)
        else:
            say(server.url)
            note(
                "temporal workflow show --codec-endpoint "
                + server.url
                + " ...; in the UI: the glasses at the top"
            )
        await asyncio.Event().wait()


def _token(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        token = file.read_text("utf-8").strip()
    except OSError as error:
        raise NotFound(f"--token-file {str(file)!r}: {error.strerror}") from error
    if not token:
        raise InvalidConfiguration(f"--token-file {str(file)!r} is empty")
    return token
