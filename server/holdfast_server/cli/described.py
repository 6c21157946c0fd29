"""A run, wherever it is still known."""

from __future__ import annotations

from holdfast import Client, HoldfastError, NotFound
from holdfast.client.description import RunDescription
from holdfast_server.cli.output import note


async def described_anywhere(client: Client, run: str) -> tuple[RunDescription, bool]:
    """The run, and whether it is from the history.

    Raises:
        NotFound: Neither Temporal nor the history knows it.
    """
    try:
        return await client.get(run).describe(), False
    except NotFound:
        if not client.store.kept:
            raise
        try:
            return await client.runs.stored(run), True
        except HoldfastError as error:
            reason = error
        if not isinstance(reason, NotFound):
            note(f"the history cannot be asked: {reason}", style="yellow")
        raise
